//! What a proxy is told: plain data, already checked for form.

use std::path::PathBuf;
use std::time::Duration;

/// Where to listen, or where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address; the host may be a name.
    Tcp {
        /// Host name or IP address, without brackets.
        host: String,
        /// TCP port; 0 in a listener asks the system for a free one.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The server behind the proxy.
#[derive(Clone)]
pub struct Upstream {
    /// Where it is.
    pub address: Address,
    /// User name, for what the proxy itself asks of the server.
    pub username: Option<String>,
    /// Password, for what the proxy itself asks of the server; clients authenticate for themselves.
    pub password: Option<String>,
    /// TLS, if the address was `rediss://`.
    pub tls: Option<UpstreamTls>,
}

// By hand, so that a password never gets into a log.
impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .finish()
    }
}

/// TLS towards the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust; the system's when absent.
    pub ca: Option<PathBuf>,
    /// Name expected in the server's certificate, when it is not the host.
    pub server_name: Option<String>,
    /// PEM files of the client certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
    /// PEM file of the authorities whose client certificates are demanded.
    pub client_ca: Option<PathBuf>,
}

/// How soon a script makes the server BUSY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusyThreshold {
    /// Read it from the server; 5 s where the server refuses.
    Auto,
    /// As given. Zero: the server never answers BUSY.
    Fixed(Duration),
}

/// Which rejections are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldKinds {
    /// `-BUSY`: a script, function or module command runs.
    pub busy: bool,
    /// `-LOADING`: the server reads its data set.
    pub loading: bool,
}

/// Which scripts the proxy ends itself: of those that came through it, that are the only one of their connection and in no
/// transaction, the ones that the lists allow. Names are functions' names, or SHA-1s of texts in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillPolicy {
    /// What has been unanswered for so long, while the server is busy with such a thing.
    pub after: Duration,
    /// Only these, if there are any.
    pub only: Vec<String>,
    /// Never these.
    pub never: Vec<String>,
}

/// What order means for the commands of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Never reordered: windows and leases.
    Strict,
    /// Everything is sent at once and what was rejected is sent again, perhaps behind later commands.
    Relaxed,
}

/// How workers read and write. What is promised does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// As usual: `epoll` on Linux.
    Epoll,
    /// Linux's `io_uring`; where it is not to be had the proxy does not start.
    Uring,
    /// `io_uring` where it is to be had.
    Auto,
}

/// All settings of a proxy.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; nowhere is enough for connections of this process.
    pub listen: Vec<Address>,
    /// Listening beyond loopback is refused unless this is set.
    pub allow_remote: bool,
    /// Where to serve metrics and state over HTTP, if anywhere.
    #[cfg(feature = "admin")]
    pub admin: Option<Address>,
    /// Whether keys and arguments of scripts are told, in logs and by the admin endpoint.
    pub show_arguments: bool,
    /// TLS for TCP listeners.
    pub listener_tls: Option<ListenerTls>,
    /// The server.
    pub upstream: Upstream,
    /// How long a command is held, counted from its first BUSY; zero: never.
    pub max_wait: Duration,
    /// Which rejections are held.
    pub hold: HoldKinds,
    /// The server's threshold.
    pub busy_threshold: BusyThreshold,
    /// Which scripts are killed, if any; with the login of `upstream`.
    pub kill: Option<KillPolicy>,
    /// What order means.
    pub ordering: Ordering,
    /// Worker threads; at least one.
    pub threads: usize,
    /// How they read and write.
    pub io: Io,
    /// Clients served at the same time; others are refused with an error.
    pub max_connections: usize,
    /// How long connecting to the server may take.
    pub connect_timeout: Duration,
    /// How long commands in flight or held may go on after a stop was asked for.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Address::Tcp { host: "127.0.0.1".into(), port: 6380 }],
            allow_remote: false,
            #[cfg(feature = "admin")]
            admin: None,
            show_arguments: false,
            listener_tls: None,
            upstream: Upstream {
                address: Address::Tcp { host: "127.0.0.1".into(), port: 6379 },
                username: None,
                password: None,
                tls: None,
            },
            max_wait: Duration::from_secs(120),
            hold: HoldKinds { busy: true, loading: false },
            busy_threshold: BusyThreshold::Auto,
            kill: None,
            ordering: Ordering::Strict,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(4)),
            io: Io::Epoll,
            max_connections: 10_000,
            connect_timeout: Duration::from_secs(5),
            drain: Duration::from_secs(30),
        }
    }
}
