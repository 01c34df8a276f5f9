//! A server of the demo's own: on a free port of this machine, nothing saved, ended with the demo.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use unbusy_proxy::Address;

use super::link::{Link, Login};
use crate::cli::UsageError;

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
const HOST: &str = "127.0.0.1";
const LOG: &str = "log";
const THRESHOLD: Duration = Duration::from_millis(200);
const START_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// A server process, killed when this goes.
#[derive(Debug)]
pub(super) struct OwnServer {
    process: Child,
    folder: TempDir,
    address: Address,
}

impl OwnServer {
    pub(super) async fn start(program: Option<&PathBuf>) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program.clone(),
            None => on_path().ok_or_else(none_found)?,
        };
        let folder = TempDir::with_prefix("unbusy-demo-").context("cannot make a temporary directory")?;
        let port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
        let address = Address::Tcp { host: HOST.to_owned(), port };
        let log = File::create(folder.path().join(LOG))?;
        let process = command(&program, folder.path(), port)
            .stdout(log)
            .spawn()
            .map_err(|error| UsageError::new(format!("cannot start {}: {error}", program.display())))?;
        let mut server = Self { process, folder, address };
        server.wait_until_up(&program).await?;
        Ok(server)
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    async fn wait_until_up(&mut self, program: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if self.answers().await {
                return Ok(());
            }
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
                bail!("{} does not start; it says:\n{}", program.display(), log.trim_end());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether this very process answers at its port.
    async fn answers(&self) -> bool {
        let own = format!("process_id:{}\r\n", self.process.id());
        let Ok(mut link) = Link::open(&self.address, &Login::default()).await else { return false };
        let info = link.tell(&["INFO", "server"]).await.unwrap_or_default();
        String::from_utf8_lossy(&info).contains(&own)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It fails if the server has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(program: &Path, folder: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--bind", HOST, "--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        // The old name, which all servers know.
        .args(["--lua-time-limit", &THRESHOLD.as_millis().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        // So that Ctrl-C does not reach it before it reaches the clients.
        .process_group(0);
    command
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let find = |program: &str| {
        let files = std::env::split_paths(&path).map(|folder| folder.join(program));
        files.into_iter().find(|file| file.is_file())
    };
    PROGRAMS.into_iter().find_map(find)
}

fn none_found() -> UsageError {
    UsageError::new(
        "no server to start: neither redis-server nor valkey-server is on PATH. Install one (the package \
         redis-server or valkey-server on Debian and Ubuntu, redis or valkey on Fedora, Arch and Homebrew), or run \
         `cargo xtask demo` in unbusy's source, which fetches one, or name one with --server PATH",
    )
}
