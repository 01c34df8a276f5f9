//! Redis as Debian ships it (7.0 in Debian 12), unpacked into a folder instead of installed: that needs no rights beyond a package
//! list, changes nothing on the machine, and starts no service.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{shell, wheel::make_executable};

/// `redis-tools` holds the server itself (`redis-server` holds only a link to it and the service); the others are the
/// libraries that a machine without Redis usually lacks.
const PACKAGES: [&str; 4] = ["redis-tools", "libatomic1", "libjemalloc2", "liblzf1"];

const LAUNCHER: &str = r#"#!/bin/sh
here=${0%/*}
LD_LIBRARY_PATH=$here/lib exec "$here/lib/redis-server" "$@"
"#;

/// Whether this system has Debian's packages.
pub(crate) fn is_here() -> bool {
    ["apt-get", "dpkg-deb"].into_iter().all(|program| shell::on_path(program).is_some())
}

/// Puts `redis-server` into `folder`, with the libraries beside it.
pub(crate) fn fetch_redis(folder: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    download(scratch.path())?;
    let unpacked = scratch.path().join("unpacked");
    for package in files(scratch.path(), ".deb")? {
        shell::output(shell::command("dpkg-deb", &["--extract"]).arg(package).arg(&unpacked))?;
    }
    let lib = folder.join("lib");
    fs::create_dir_all(&lib)?;
    // The same program is server and checker; the name under which it is called decides.
    copy(&unpacked.join("usr/bin/redis-check-rdb"), &lib.join("redis-server"))?;
    for folder in files(&unpacked.join("usr/lib"), "-linux-gnu")? {
        for library in files(&folder, ".so.")? {
            copy(&library, &lib.join(library.file_name().context("a library has a name")?))?;
        }
    }
    let launcher = folder.join("redis-server");
    fs::write(&launcher, LAUNCHER)?;
    make_executable(&launcher)
}

/// The first try may fail because the machine has no package list yet, or an old one.
fn download(folder: &Path) -> Result<()> {
    if try_download(folder).is_ok() {
        return Ok(());
    }
    eprintln!("  updating the package list");
    let update = ["apt-get", "update", "--quiet"];
    let root = shell::output(&mut shell::command("id", &["-u"]))?.trim() == "0";
    let words: Vec<_> = if root { update.to_vec() } else { [&["sudo", "-n"], &update[..]].concat() };
    shell::output(&mut shell::command(words[0], &words[1..])).context("cannot update the package list")?;
    try_download(folder)
}

fn try_download(folder: &Path) -> Result<()> {
    let mut apt = shell::command("apt-get", &["download", "--quiet", "-o", "APT::Sandbox::User="]);
    shell::output(apt.args(PACKAGES).current_dir(folder))?;
    Ok(())
}

fn files(folder: &Path, mark: &str) -> Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.to_string_lossy().contains(mark)).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
