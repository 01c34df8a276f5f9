//! haproxy, which here only moves bytes.

use std::{fs, process::Command};

use anyhow::Result;

use super::Launch;
use crate::{bench::address::Address, debian};

pub(super) const PROGRAM: debian::Program = debian::Program {
    name: "haproxy",
    packages: &["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
    member: "usr/sbin/haproxy",
    home: None,
};

pub(super) fn launch(launch: &Launch<'_>) -> Result<Command> {
    let file = launch.folder.join("haproxy.cfg");
    fs::write(&file, configuration(launch)?)?;
    // `-db`: not in the background.
    let mut command = Command::new(launch.program);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn configuration(launch: &Launch<'_>) -> Result<String> {
    let Launch { workers, clients, .. } = launch;
    let port = launch.listen.port()?;
    let server = match launch.server {
        Address::Tcp(port) => format!("127.0.0.1:{port}"),
        Address::Unix(path) => format!("unix@{}", path.display()),
    };
    Ok(format!(
        "global
    nbthread {workers}
    maxconn {clients}
defaults
    mode tcp
    maxconn {clients}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen redis
    bind 127.0.0.1:{port}
    server redis {server}
"
    ))
}
