//! twemproxy, which Debian calls nutcracker: it sends the commands of all clients through one connection, and so breaks those
//! that belong to a connection.

use std::{fs, process::Command};

use anyhow::Result;

use super::Launch;
use crate::{bench::address::Address, debian};

pub(super) const PROGRAM: debian::Program = debian::Program {
    name: "nutcracker",
    packages: &["nutcracker", "libyaml-0-2"],
    member: "usr/sbin/nutcracker",
    home: None,
};

pub(super) fn launch(launch: &Launch<'_>) -> Result<Command> {
    let (port, server) = (launch.listen.port()?, launch.server.port()?);
    let file = launch.folder.join("nutcracker.yml");
    let text = format!(
        "redis:
  listen: 127.0.0.1:{port}
  redis: true
  hash: fnv1a_64
  distribution: ketama
  backlog: 1024
  servers:
   - 127.0.0.1:{server}:1
"
    );
    fs::write(&file, text)?;
    // It cannot do without telling statistics; let nobody else's port be taken for that.
    let statistics = Address::free_port()?.to_string();
    let mut command = Command::new(launch.program);
    command.arg("--output").arg(launch.folder.join("nutcracker.log"));
    command.args(["--stats-addr=127.0.0.1", "--stats-port", &statistics, "--conf-file"]).arg(file);
    Ok(command)
}
