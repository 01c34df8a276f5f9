//! The package in which the suite of the `redis` crate is run: that crate's tests, and what `tests/redis-rs` holds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::facts::{EDITS, FILES_NOT_RUN, LEFT_OUT};
use super::stage::Stage;
use crate::conformance::{LeftOut, Way};
use crate::shell;

pub(super) struct Package {
    folder: PathBuf,
    /// Of the `redis` crate.
    pub(super) version: String,
}

impl Package {
    /// Puts the package together, anew each time; what was built of it stays.
    pub(super) fn make() -> Result<Self> {
        let (version, source) = locked_redis()?;
        let folder = super::target()?.join("package");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let root = shell::root().to_string_lossy();
        copy(&shell::root().join("tests/redis-rs"), &folder, &|_, text| {
            Ok(text.replace("{repository}", &root))
        })?;
        copy(&source.join("tests"), &folder.join("tests"), &edit)?;
        for (file, _reason) in FILES_NOT_RUN {
            fs::remove_file(folder.join("tests").join(file)).with_context(|| format!("no tests/{file}"))?;
        }
        // The same versions as everywhere else; what only the suite needs is added.
        fs::copy(shell::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(Self { folder, version })
    }

    /// Runs the tests, and returns what nextest says of each, a line of JSON per event. What else it says goes to a file.
    pub(super) fn test(&self, way: Way, filter: Option<&str>, stage: &Stage) -> Result<String> {
        let mut nextest =
            shell::cargo(&["nextest", "run", "--no-fail-fast", "--message-format", "libtest-json"]);
        nextest.args(["--config-file", ".config/nextest.toml", "--cargo-quiet"]);
        if way.has_unbusy() {
            nextest.args(["--features", "unbusy"]);
        }
        if let Some(filter) = filter {
            nextest.args(["--filterset", filter]);
        }
        nextest.current_dir(&self.folder).env("CARGO_TARGET_DIR", super::target()?.join("build"));
        nextest.env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1").envs(stage.environment(way.is_busy())?);
        let log = super::target()?.join(format!("{way:?}.log"));
        eprintln!("    what fails is told in {}", log.display());
        // A failed test makes it fail, too; that it ran at all shows in what it printed.
        let output = nextest.stderr(fs::File::create(&log)?).output();
        let output =
            output.context("cannot run cargo nextest, which this needs: cargo install cargo-nextest")?;
        ensure!(!output.stdout.is_empty(), "no test was run: {} tells why", log.display());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Version and folder of the `redis` crate that this workspace is locked to, in the lowest of its versions.
fn locked_redis() -> Result<(String, PathBuf)> {
    let metadata = shell::output(&mut metadata())?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata named no packages")?;
    let redis = packages.iter().find(|package| {
        package["name"] == "redis"
            && package["version"].as_str().is_some_and(|version| version.starts_with("1."))
    });
    let redis = redis.context("version 1 of the redis crate is not among the dependencies")?;
    let manifest = redis["manifest_path"].as_str().map(Path::new).context("a package has a manifest")?;
    let folder = manifest.parent().context("a manifest lies in a folder")?;
    ensure!(folder.join("tests").is_dir(), "{} has no tests", folder.display());
    Ok((redis["version"].as_str().unwrap_or_default().to_owned(), folder.to_owned()))
}

fn metadata() -> Command {
    shell::cargo(&["metadata", "--format-version", "1", "--all-features"])
}

/// Copies a folder; files are changed on the way by what is given their path in it and their text.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&Path, String) -> Result<String>) -> Result<()> {
    copy_below(from, to, Path::new(""), change)
}

fn copy_below(
    from: &Path,
    to: &Path,
    below: &Path,
    change: &dyn Fn(&Path, String) -> Result<String>,
) -> Result<()> {
    fs::create_dir_all(to.join(below))?;
    for entry in fs::read_dir(from.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_below(from, to, &path, change)?;
        } else {
            let text = fs::read_to_string(entry.path())?;
            fs::write(to.join(&path), change(&path, text)?)?;
        }
    }
    Ok(())
}

/// Does the edits to a file of the suite, and switches off what is left out of it.
fn edit(path: &Path, mut text: String) -> Result<String> {
    for edit in EDITS.iter().filter(|edit| path == Path::new(edit.file)) {
        ensure!(text.contains(edit.from), "tests/{} has no `{}` any more", edit.file, edit.from);
        text = text.replace(edit.from, edit.to);
    }
    for left_out in LEFT_OUT.iter().filter(|left_out| path == Path::new(left_out.place)) {
        let at = definition(&text, left_out.name);
        let at = at.with_context(|| format!("tests/{} has no {} any more", left_out.place, left_out.name))?;
        text.insert_str(at, condition(left_out));
    }
    Ok(text)
}

/// The attribute that leaves it out.
const fn condition(left_out: &LeftOut) -> &'static str {
    if left_out.with_unbusy { "#[cfg(not(feature = \"unbusy\"))] " } else { "#[cfg(any())] " }
}

/// Where a function's definition begins, after its attributes.
fn definition(text: &str, function: &str) -> Option<usize> {
    let at = text.find(&format!("fn {function}("))?;
    let words = ["async ", "pub "];
    let begin = |at: usize| words.iter().find(|word| text[..at].ends_with(*word)).map(|word| at - word.len());
    Some(std::iter::successors(Some(at), |at| begin(*at)).last().unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::definition;

    #[test]
    fn a_definition_begins_behind_its_attributes() {
        let text = "#[test]\npub async fn ab() {}\n#[test]\nfn a() {}\n";
        let at = |function| definition(text, function).map(|at| text[at..].lines().next());
        assert_eq!(at("ab"), Some(Some("pub async fn ab() {}")));
        assert_eq!(at("a"), Some(Some("fn a() {}")));
        assert_eq!(at("b"), None);
    }
}
