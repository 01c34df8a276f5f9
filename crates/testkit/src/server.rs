//! Real servers.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Client, Flavor, Reply, leash::OwnedChild, proc};

const START_LIMIT: Duration = Duration::from_secs(20);
const PORT_TRIES: usize = 8;

/// A real server on a free loopback port and on a unix socket, without persistence; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: OwnedChild,
    folder: TempDir,
    flavor: Flavor,
    port: u16,
    address: String,
}

impl Server {
    /// Starts a server with a busy threshold of 100 ms.
    pub fn start(flavor: Flavor) -> Self {
        Self::builder(flavor).start()
    }

    /// A server with options of its own.
    ///
    /// ```no_run
    /// # use testkit::{Flavor, Server};
    /// let server = Server::builder(Flavor::Redis70)
    ///     .threshold(std::time::Duration::from_millis(20))
    ///     .arg("--requirepass")
    ///     .arg("secret")
    ///     .start();
    /// ```
    pub fn builder(flavor: Flavor) -> ServerBuilder {
        ServerBuilder { flavor, threshold: Duration::from_millis(100), args: Vec::new() }
    }

    /// Which server this is.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The unix socket.
    pub fn unix_path(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// A new connection over TCP.
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// The processor time it has used, of all its threads.
    pub fn cpu_time(&self) -> Duration {
        proc::cpu_time(self.pid())
    }

    /// How many commands the server has rejected with BUSY so far.
    ///
    /// # Panics
    /// When the server is busy.
    pub fn rejections(&self) -> u64 {
        let info = self.client().cmd(&["INFO", "errorstats"]).text();
        let count = info.lines().find_map(|line| line.strip_prefix("errorstat_BUSY:count="));
        count.map_or(0, |count| count.trim().parse().expect("a number"))
    }
}

/// Options of a [`Server`]; see [`Server::builder`].
#[derive(Debug, Clone)]
pub struct ServerBuilder {
    flavor: Flavor,
    threshold: Duration,
    args: Vec<OsString>,
}

impl ServerBuilder {
    /// How long a script may run before the server answers BUSY; zero means that it never does.
    pub fn threshold(mut self, threshold: Duration) -> Self {
        self.threshold = threshold;
        self
    }

    /// One more word on the server's command line.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Server {
        // A free port can be taken by somebody else before the server binds it: then another one is tried.
        (0..PORT_TRIES)
            .find_map(|_| self.try_start())
            .unwrap_or_else(|| panic!("{}: no free port in {PORT_TRIES} tries", self.flavor))
    }

    /// `None` if the port was taken in the meantime.
    fn try_start(&self) -> Option<Server> {
        let folder = TempDir::with_prefix("unbusy-").expect("cannot make a temporary folder");
        let port = free_port();
        let log = File::create(log_in(folder.path())).expect("cannot create the server's log");
        let mut server = Server {
            process: OwnedChild::spawn(self.command(&folder, port).stdout(log)),
            folder,
            flavor: self.flavor,
            port,
            address: format!("127.0.0.1:{port}"),
        };
        wait_until_up(&mut server).then_some(server)
    }

    fn command(&self, folder: &TempDir, port: u16) -> Command {
        let binary = self.flavor.binary().unwrap_or_else(|| {
            panic!(
                "no {} server to test with: run `cargo xtask servers` once (or set {} to its binary)",
                self.flavor,
                self.flavor.variable()
            )
        });
        let mut command = Command::new(binary);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .arg("--unixsocket")
            .arg(socket_in(folder.path()))
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path())
            .arg(format!("--{}", self.flavor.threshold_option()))
            .arg(self.threshold.as_millis().to_string())
            .args(&self.args)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// Returns false if the port was taken. Asks over the unix socket, which is certainly this server's own, and which
/// servers open after their TCP port.
fn wait_until_up(server: &mut Server) -> bool {
    let socket = server.unix_path();
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if socket.exists() && answers(&socket) {
            return true;
        }
        let exited = server.process.get().try_wait().expect("cannot wait for the server");
        if let Some(status) = exited {
            let log = server.log();
            if log.contains("Address already in use") {
                return false;
            }
            panic!("{} ended at its start with {status}; its log:\n{log}", server.flavor);
        }
        assert!(
            Instant::now() < deadline,
            "{} does not answer PING; its log:\n{}",
            server.flavor,
            server.log()
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// An error such as NOAUTH is an answer too; LOADING is not.
fn answers(socket: &Path) -> bool {
    let Some(mut client) = Client::try_connect_unix(socket) else {
        return false;
    };
    !matches!(client.cmd(&["PING"]), Reply::Error(e) if e.starts_with("LOADING"))
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("no free loopback port")
        .port()
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("server.sock")
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

fn read_log(folder: &Path) -> String {
    let bytes = fs::read(log_in(folder)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
