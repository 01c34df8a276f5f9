//! The dashboard of the admin endpoint, in a headless Chromium.

use std::fs;

use anyhow::Result;
use testkit::Flavor;

use crate::{python, servers, shell};

const FOLDER: &str = "tests/dashboard";
/// What drives the browser, by exact content; beside what the scenarios in Python need.
const PINS: &str = "tests/dashboard/requirements.txt";

pub(crate) fn test() -> Result<()> {
    let python = python::environment_with("-dashboard", &[python::PINS, PINS])?;
    let screenshots = shell::target()?.join("dashboard");
    fs::create_dir_all(&screenshots)?;
    // `-s`: it tells how long the page takes.
    let mut pytest = shell::command(
        python,
        &["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "--timeout", "60", "-s", FOLDER],
    );
    pytest.env("UNBUSY_BIN", shell::unbusy_for_tests()?).env("UNBUSY_SCREENSHOTS", &screenshots);
    for flavor in Flavor::ALL {
        pytest.env(flavor.variable(), servers::ensure_present(flavor)?);
    }
    shell::run(&mut pytest)?;
    eprintln!("screenshots are in {}", screenshots.display());
    Ok(())
}
