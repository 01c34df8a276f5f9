//! What is measured: a server, and the proxies before it.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::{Flavor, Server};

use super::{
    address::Address,
    case::Sockets,
    peers::{Launch, Peer, UNBUSY, Unix},
    process,
};

/// Beside the idle clients there are those of the largest case.
const BUSY_CLIENTS: u32 = 600;
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a proxy may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(2);
const PORT_TRIES: u32 = 8;

/// A way for commands to go: through a proxy, or straight to the server.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) address: Address,
    pid: u32,
    #[expect(dead_code, reason = "ends the proxy")]
    proxy: Option<Running>,
}

pub(super) const DIRECT: &str = "direct";

impl Line {
    /// The processes of the proxy; of the server, where there is no proxy.
    pub(super) fn pids(&self) -> Vec<u32> {
        process::family(self.pid)
    }
}

/// All is stopped when this is dropped.
pub(super) struct Rig {
    tcp: Vec<Line>,
    unix: Vec<Line>,
    #[expect(dead_code, reason = "ends the server")]
    server: Server,
}

/// How large it is to be.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) workers: u32,
    pub(super) idle: u32,
}

impl Rig {
    /// `peers` with their programs; `unix`: also those lines are wanted that lead through unix sockets.
    pub(super) fn start(peers: &[(&'static Peer, PathBuf)], size: Size, unix: bool) -> Result<Self> {
        let clients = size.idle + BUSY_CLIENTS;
        let server = Server::builder(Flavor::Redis70)
            .threshold(Duration::from_secs(5))
            .arg("--maxclients")
            .arg((clients + 100).to_string())
            .start();
        let address = |sockets| match sockets {
            Sockets::Tcp => Address::Tcp(server.port()),
            Sockets::Unix => Address::Unix(server.unix_path()),
        };
        let lines = |sockets, takes_part: &dyn Fn(&Peer) -> bool| -> Result<Vec<Line>> {
            let direct = Line { name: DIRECT, address: address(sockets), pid: server.pid(), proxy: None };
            let mut lines = vec![direct];
            for (peer, program) in peers.iter().filter(|(peer, _)| takes_part(peer)) {
                let (server, workers) = (&address(sockets), size.workers);
                let starting = Starting { peer, program, server, workers, clients };
                match starting.line(sockets) {
                    Ok(line) => lines.push(line),
                    Err(error) if peer.name == UNBUSY => return Err(error.context("cannot start unbusy")),
                    Err(error) => {
                        eprintln!("bench: without {}, which cannot be started: {error:#}", peer.name);
                    }
                }
            }
            Ok(lines)
        };
        let tcp = lines(Sockets::Tcp, &|_| true)?;
        let unix = lines(Sockets::Unix, &|peer| unix && peer.unix != Unix::No)?;
        Ok(Self { tcp, unix, server })
    }

    pub(super) fn lines(&self, sockets: Sockets) -> &[Line] {
        match sockets {
            Sockets::Tcp => &self.tcp,
            Sockets::Unix => &self.unix,
        }
    }
}

struct Starting<'a> {
    peer: &'static Peer,
    program: &'a PathBuf,
    server: &'a Address,
    workers: u32,
    clients: u32,
}

impl Starting<'_> {
    fn line(&self, sockets: Sockets) -> Result<Line> {
        // A free port can be taken by somebody else before the proxy binds it: then another one is tried.
        for _ in 1..PORT_TRIES {
            if let Ok(line) = self.try_line(sockets) {
                return Ok(line);
            }
        }
        self.try_line(sockets)
    }

    fn try_line(&self, sockets: Sockets) -> Result<Line> {
        let folder = TempDir::with_prefix("unbusy-bench-")?;
        let over_unix = sockets == Sockets::Unix && self.peer.unix == Unix::Both;
        let address = if over_unix {
            Address::Unix(folder.path().join("socket"))
        } else {
            Address::Tcp(Address::free_port()?)
        };
        let mut command = self.peer.command(&Launch {
            program: self.program,
            folder: folder.path(),
            listen: &address,
            server: self.server,
            workers: self.workers,
            clients: self.clients,
        })?;
        let log = folder.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut running = Running { child: command.spawn()?, folder };
        running.wait_until_served(&address, &log)?;
        Ok(Line { name: self.peer.name, address, pid: running.child.id(), proxy: Some(running) })
    }
}

/// A proxy's process.
struct Running {
    child: Child,
    #[expect(dead_code, reason = "removes the folder")]
    folder: TempDir,
}

impl Running {
    fn wait_until_served(&mut self, address: &Address, log: &PathBuf) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = address.greet() {
            let log = || fs::read_to_string(log).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at its start with {status}:\n{}", log());
            }
            let late = start.elapsed() > START_LIMIT;
            ensure!(!late, "it does not serve after {START_LIMIT:?}: {error:#}\n{}", log());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, since one with processes of its own ends those only then. It may have ended by itself, on the same
        // Ctrl-C.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < END_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
