//! What is measured: a server, and the proxies before it.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use testkit::{Flavor, Proxy, Server};

use super::{process, tools::Tools};

/// Beside the idle clients there are those of the largest case.
const BUSY_CLIENTS: u32 = 600;
const START_LIMIT: Duration = Duration::from_secs(10);
const PORT_TRIES: u32 = 8;

/// The way that commands go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Direct,
    Haproxy,
    Unbusy,
}

impl Path {
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Haproxy, Self::Unbusy];
}

/// All is stopped when this is dropped.
pub(super) struct Rig {
    unbusy: Proxy,
    unbusy_port: u16,
    haproxy: Haproxy,
    server: Server,
}

impl Rig {
    pub(super) fn start(tools: &Tools, unbusy: &path::Path, threads: u32, idle: u32) -> Result<Self> {
        let clients = idle + BUSY_CLIENTS;
        let server = Server::builder(Flavor::Redis70)
            .threshold(Duration::from_secs(5))
            .arg("--maxclients")
            .arg((clients + 100).to_string())
            .start();
        let threads_text = threads.to_string();
        let clients_text = clients.to_string();
        let options = ["--threads", &threads_text, "--max-connections", &clients_text];
        let unbusy = Proxy::start(unbusy, &server.url(), &options);
        let haproxy = Haproxy::start(&tools.haproxy, server.port(), threads, clients)?;
        let port = unbusy.address().rsplit(':').next().and_then(|port| port.parse().ok());
        let unbusy_port = port.with_context(|| format!("no port in {}", unbusy.address()))?;
        Ok(Self { unbusy, unbusy_port, haproxy, server })
    }

    pub(super) fn port(&self, path: Path) -> u16 {
        match path {
            Path::Direct => self.server.port(),
            Path::Haproxy => self.haproxy.port,
            Path::Unbusy => self.unbusy_port,
        }
    }

    pub(super) fn pid(&self, path: Path) -> u32 {
        match path {
            Path::Direct => self.server.pid(),
            Path::Haproxy => self.haproxy.child.id(),
            Path::Unbusy => self.unbusy.pid(),
        }
    }

    /// Processor time of the proxy so far; of the server, where there is no proxy.
    pub(super) fn cpu_time(&self, path: Path) -> Result<f64> {
        process::cpu_time(self.pid(path))
    }
}

struct Haproxy {
    child: Child,
    port: u16,
    #[expect(dead_code, reason = "removes the folder")]
    folder: TempDir,
}

impl Haproxy {
    fn start(binary: &path::Path, server: u16, threads: u32, clients: u32) -> Result<Self> {
        // A free port can be taken by somebody else before haproxy binds it: then another one is tried.
        for _ in 1..PORT_TRIES {
            if let Ok(haproxy) = Self::try_start(binary, server, threads, clients) {
                return Ok(haproxy);
            }
        }
        Self::try_start(binary, server, threads, clients)
    }

    fn try_start(binary: &path::Path, server: u16, threads: u32, clients: u32) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let folder = TempDir::with_prefix("unbusy-bench-")?;
        let (config, log) = (folder.path().join("haproxy.cfg"), folder.path().join("log"));
        fs::write(&config, configuration(port, server, threads, clients))?;
        // `-db`: not in the background.
        let mut command = Command::new(binary);
        command.arg("-db").arg("-f").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(File::create(&log)?).spawn().context("cannot start haproxy")?;
        let mut haproxy = Self { child, port, folder };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = haproxy.child.try_wait()? {
                let log = fs::read_to_string(&log).unwrap_or_default();
                bail!("haproxy ended at its start with {status}:\n{log}");
            }
            ensure!(start.elapsed() < START_LIMIT, "haproxy does not listen after {START_LIMIT:?}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(haproxy)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended by itself, on the same Ctrl-C.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(port: u16, server: u16, threads: u32, clients: u32) -> String {
    format!(
        "global
    nbthread {threads}
    maxconn {clients}
defaults
    mode tcp
    maxconn {clients}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen redis
    bind 127.0.0.1:{port}
    server redis 127.0.0.1:{server}
"
    )
}
