//! The Python package: built, installed into an environment of its own, and tried there.

mod source;
pub(crate) mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use testkit::Flavor;

use crate::{python, servers, shell};

const FOLDER: &str = "crates/unbusy-python";
/// What is needed to build and to check it, by exact content.
const PINS: &str = "crates/unbusy-python/tests/requirements.txt";
/// All but what is tried with other packages, which are many.
const TESTS: [&str; 3] = ["crates/unbusy-python/tests", "--ignore", RECIPES];
/// As in the other scenarios in Python.
const AT_ONCE: &str = "3";
const RECIPES: &str = "crates/unbusy-python/tests/recipes";
const RECIPES_PINS: &str = "crates/unbusy-python/tests/recipes-requirements.txt";

/// With all servers, and from its source distribution as well.
pub(crate) fn test() -> Result<()> {
    let python = environment()?;
    check_types(&python)?;
    shell::run(&mut pytest(&python, &TESTS)?)?;
    source::test(&python)
}

/// With one server only.
pub(crate) fn test_quickly() -> Result<()> {
    let python = environment()?;
    check_types(&python)?;
    shell::run(&mut pytest(&python, &quick_tests())?)
}

fn quick_tests() -> Vec<&'static str> {
    [TESTS.as_slice(), &["-k", "not redis-6.2 and not valkey-9.1"]].concat()
}

/// An environment with the package in it, and all that it is tried with.
pub(crate) fn environment() -> Result<PathBuf> {
    let python = python::environment_with("-package", &[python::PINS, PINS])?;
    install(&python)?;
    Ok(python)
}

fn check_types(python: &Path) -> Result<()> {
    let mut mypy = shell::command(python, &["-m", "mypy", "--config-file", "pyproject.toml"]);
    mypy.args(["python/unbusy", "tests/typed.py"]);
    shell::run(mypy.current_dir(shell::root().join(FOLDER)))
}

/// The same package, with Celery, Django and others that make their own connections.
pub(crate) fn recipes() -> Result<()> {
    let python = python::environment_with("-recipes", &[python::PINS, PINS, RECIPES_PINS])?;
    install(&python)?;
    shell::run(&mut pytest(&python, &[RECIPES])?)
}

/// It tries these with what is installed there.
fn pytest(python: &Path, tests: &[&str]) -> Result<Command> {
    let mut pytest = shell::command(
        python,
        &["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-n", AT_ONCE],
    );
    pytest.args(tests);
    for flavor in Flavor::ALL {
        pytest.env(flavor.variable(), servers::ensure_present(flavor)?);
    }
    Ok(pytest)
}

/// Builds a wheel as users get it, but without optimizations, as the other tests are built.
fn install(python: &Path) -> Result<()> {
    let wheels = tempfile::tempdir()?;
    let manifest = format!("{FOLDER}/Cargo.toml");
    let mut build =
        shell::command(python, &["-m", "maturin", "build", "--profile", "dev", "--manifest-path", &manifest]);
    build.args(["--auditwheel", "skip", "--out"]).arg(wheels.path());
    shell::output(build.env("CARGO_TARGET_DIR", shell::target()?))?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"];
    shell::output(shell::command(python, &pip).arg(only_file(wheels.path())?))?;
    Ok(())
}

/// What maturin has built.
fn only_file(folder: &Path) -> Result<PathBuf> {
    Ok(fs::read_dir(folder)?.next().context("maturin has built nothing")??.path())
}
