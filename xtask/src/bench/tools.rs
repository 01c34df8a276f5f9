//! The programs that are needed beside ours.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::shell;

/// Debian puts daemons where the PATH of most users does not lead.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

pub(super) struct Tools {
    pub(super) redis_benchmark: PathBuf,
    pub(super) haproxy: PathBuf,
}

impl Tools {
    /// Finds the programs; root gets what is missing from Debian.
    pub(super) fn find() -> Result<Self> {
        if let Some(tools) = Self::installed() {
            return Ok(tools);
        }
        let install = ["install", "--yes", "--no-install-recommends", "redis-tools", "haproxy"];
        if rustix::process::geteuid().is_root() && shell::on_path("apt-get").is_some() {
            eprintln!("bench: installing redis-tools and haproxy");
            shell::run(&mut shell::command("apt-get", &["update", "--quiet"]))?;
            shell::run(shell::command("apt-get", &install).env("DEBIAN_FRONTEND", "noninteractive"))?;
        }
        let Some(tools) = Self::installed() else {
            bail!("redis-benchmark and haproxy are needed: `sudo apt-get {}`", install.join(" "));
        };
        Ok(tools)
    }

    fn installed() -> Option<Self> {
        Some(Self { redis_benchmark: program("redis-benchmark")?, haproxy: program("haproxy")? })
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let elsewhere = || MORE_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|f| f.is_file());
    shell::on_path(name).or_else(elsewhere)
}
