//! What stands on PATH while the suite runs, since it starts its servers itself.

use std::{env, ffi::OsString, fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::shell;

/// The program `storm` of the test kit under the names of the server and its client.
pub(super) struct Stage {
    server: PathBuf,
    folder: PathBuf,
    seed: u64,
}

impl Stage {
    pub(super) fn set(server: PathBuf, seed: u64) -> Result<Self> {
        shell::run(&mut shell::cargo(&["build", "--quiet", "--package", "testkit", "--bin", "storm"]))?;
        let storm = shell::built("debug", "storm")?;
        let folder = super::target()?.join("path");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("marks"))?;
        for name in ["redis-server", "redis-cli"] {
            std::os::unix::fs::symlink(&storm, folder.join(name))?;
        }
        Ok(Self { server, folder, seed })
    }

    /// The environment of the suite, for a server that is busy now and then, or quiet.
    pub(super) fn environment(&self, busy: bool) -> Result<Vec<(&'static str, OsString)>> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.folder.clone()].into_iter().chain(env::split_paths(&path)))?;
        let cli = shell::on_path("redis-cli")
            .context("the suite makes clusters with `redis-cli`, which is not on PATH")?;
        let mut variables = vec![
            ("PATH", path),
            ("UNBUSY_STORM_SERVER", self.server.clone().into()),
            ("UNBUSY_STORM_CLI", cli.into()),
            ("UNBUSY_STORM_FOLDER", self.folder.join("marks").into()),
        ];
        if busy {
            variables.push(("UNBUSY_STORM_SEED", self.seed.to_string().into()));
        }
        Ok(variables)
    }
}
