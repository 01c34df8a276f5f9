//! The source distribution of the Python package, installed as it is where there is Rust but no wheel.

use std::path::Path;

use anyhow::Result;
use testkit::Flavor;

use super::{FOLDER, only_file};
use crate::{servers, shell};

pub(super) fn test(maturin: &Path) -> Result<()> {
    eprintln!("--- from the source distribution");
    let folder = tempfile::tempdir()?;
    let (dist, venv) = (folder.path().join("dist"), folder.path().join("venv"));
    let manifest = format!("{FOLDER}/Cargo.toml");
    let mut sdist =
        shell::command(maturin, &["-m", "maturin", "sdist", "--manifest-path", &manifest, "--out"]);
    shell::output(sdist.arg(&dist))?;
    shell::output(shell::command("python3", &["-m", "venv"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let mut pip =
        shell::command(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    // Of what is built here nothing is to help it, nor is it to stay.
    pip.env("CARGO_TARGET_DIR", folder.path().join("target")).env("MATURIN_PEP517_ARGS", "--profile dev");
    shell::output(pip.arg(only_file(&dist)?).current_dir(&folder))?;
    let mut demo = shell::command(&python, &["-m", "unbusy", "demo", "--server"]);
    shell::run(demo.arg(servers::ensure_present(Flavor::Valkey91)?).current_dir(&folder))
}
