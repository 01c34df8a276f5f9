//! The source distribution of redis-py, in which its tests are.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{python, shell};

pub(super) struct Source {
    pub(super) folder: PathBuf,
    pub(super) version: String,
    /// The files of the suite that are run, below `tests`; the largest first, since they take longest.
    pub(super) files: Vec<String>,
}

impl Source {
    /// Unpacks it anew, in the version that the scenarios in Python use, without the files named.
    pub(super) fn unpack<'a>(python: &Path, not_run: impl Iterator<Item = &'a str>) -> Result<Self> {
        let (version, pin) = pin()?;
        let name = format!("redis-{version}");
        let archive = testkit::cache_dir().join("redis-py").join(format!("{name}.tar.gz"));
        if !archive.exists() {
            download(python, &pin, archive.parent().context("an archive lies in a folder")?)?;
        }
        let target = super::super::target("redis-py")?;
        let folder = target.join(&name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut unpack = shell::command(python, &["-m", "tarfile", "-e"]);
        shell::output(unpack.arg(&archive).arg(&target))?;
        replace_files(&folder.join("tests"))?;
        let files = files(&folder.join("tests"), not_run)?;
        Ok(Self { folder, version, files })
    }
}

/// The version, and the lines that pin it.
fn pin() -> Result<(String, String)> {
    let pins = fs::read_to_string(shell::root().join(python::PINS))?;
    let from = pins.find("\nredis==").with_context(|| format!("{} pins no redis", python::PINS))? + 1;
    let is_more = |line: &&str| line.starts_with("redis==") || line.starts_with(' ');
    let pin: Vec<_> = pins[from..].lines().take_while(is_more).collect();
    let version = pin[0].trim_start_matches("redis==").split([' ', '\\']).next().unwrap_or_default();
    Ok((version.to_owned(), pin.join("\n")))
}

fn download(python: &Path, pin: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, pin)?;
    let mut pip = shell::command(
        python,
        &[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-binary",
            ":all:",
        ],
    );
    pip.arg("--require-hashes").arg("--dest").arg(folder);
    shell::output(pip.arg("--requirement").arg(&requirements))?;
    Ok(())
}

/// Puts ours in place of the suite's.
fn replace_files(tests: &Path) -> Result<()> {
    const REPLACED: &str = "entraid_utils.py";
    let place = tests.join(REPLACED);
    ensure!(place.exists(), "the suite has no {REPLACED} any more");
    fs::copy(shell::root().join("tests/redis-py").join(REPLACED), place)?;
    Ok(())
}

/// The files of tests below a folder, but for those named, or in a folder named.
fn files<'a>(tests: &Path, not_run: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(tests, Path::new(""), &mut files)?;
    for name in not_run {
        let before = files.len();
        files.retain(|(_, file)| !file.starts_with(name));
        ensure!(files.len() < before, "the suite has no {name} any more");
    }
    files.sort_by_key(|(size, _)| Reverse(*size));
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

fn collect(tests: &Path, below: &Path, files: &mut Vec<(u64, String)>) -> Result<()> {
    for entry in fs::read_dir(tests.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            collect(tests, &path, files)?;
        } else if name.starts_with("test_") && path.extension().is_some_and(|extension| extension == "py") {
            files.push((entry.metadata()?.len(), path.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}
