//! The tokio shell of unbusy: listens, pairs each client with a server connection of its own, and drives the engine
//! of `unbusy-core` between them.
//!
//! [`Proxy::start`] opens the listeners and serves on threads of its own until a [`Stopper`] ends it. A program that wants
//! unbusy for its own connections needs no listener: [`Proxy::connect`].

#[cfg(feature = "admin")]
mod admin;
mod buffer;
mod config;
mod connecting;
mod direct;
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "only the admin endpoint reads it"))]
mod histogram;
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "only the admin endpoint reads it"))]
mod history;
mod inquiry;
mod kill;
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "only the admin endpoint reads it"))]
mod ledger;
mod listen;
mod notices;
mod pair;
mod reply;
mod running;
mod serve;
mod shared;
mod stranger;
mod stream;
mod sync;
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "only the admin endpoint reads it"))]
mod tally;
mod threshold;
mod timer;
mod tls;
mod upstream;
mod uring;
mod worker;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use unbusy_core::{Event, Policy};

#[cfg(feature = "admin")]
pub use admin::CONNECTIONS_MAX as ADMIN_CONNECTIONS_MAX;
pub use config::{
    Address, BusyThreshold, Config, HoldKinds, Io, KillPolicy, ListenerTls, Ordering, Upstream, UpstreamTls,
};
pub use connecting::Connecting;
pub use direct::{Direct, Ender, Polled, Watch};
pub use inquiry::{Inquiry, InquiryError};
use listen::Listener;
pub use reply::{Reply, printable};
use serve::Seat;
use shared::{Shared, Stage};
use stream::Stream;
pub use upstream::Connector;
use worker::{Accepted, Order, Worker};

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as it was asked for.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A listener would be reachable from other machines.
    #[error(
        "refusing to listen on {address}: it is reachable from other machines, and the server would take all its \
         clients for local ones; add --allow-remote if that is wanted"
    )]
    Remote {
        /// The address as it was asked for.
        address: Address,
    },
    /// The admin endpoint would be reachable from other machines.
    #[cfg(feature = "admin")]
    #[error(
        "refusing to serve metrics on {address}: they could be read from other machines, without a password; add \
         --allow-remote if that is wanted"
    )]
    RemoteAdmin {
        /// The address as it was asked for.
        address: Address,
    },
    /// The server is one of the proxy's own listeners: each connection would make another, without end.
    #[error(
        "the server {upstream} is this proxy itself, which listens on {listen}; name the server, like --upstream \
         redis://127.0.0.1:6379, or listen elsewhere, like --listen 127.0.0.1:6380"
    )]
    Itself {
        /// The server as it was named.
        upstream: Address,
        /// The listener that it is.
        listen: Address,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use {} as {setting}: {reason}", path.display())]
    TlsFile {
        /// The setting that names the file, such as `tls-cert`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The name to expect in the server's certificate is none.
    #[error("{name:?} cannot be the name in a certificate: {reason}")]
    ServerName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no `io_uring`, which was asked for.
    #[error(
        "cannot use io_uring: {0}; it needs Linux 6.1, and a sandbox that allows it: use --io epoll, or --io auto"
    )]
    Uring(#[source] io::Error),
    /// The system refused a thread or an event queue.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running proxy.
///
/// ```
/// use unbusy_proxy::{Address, Config, Proxy};
/// let listen = vec![Address::Tcp { host: "127.0.0.1".into(), port: 0 }];
/// let proxy = Proxy::start(Config { listen, ..Config::default() })?;
/// println!("point your client at {}", proxy.addresses()[0]);
/// proxy.stopper().stop_now();
/// proxy.join();
/// # Ok::<(), unbusy_proxy::StartError>(())
/// ```
pub struct Proxy {
    addresses: Vec<Address>,
    #[cfg(feature = "admin")]
    admin: Option<admin::Admin>,
    stopper: Stopper,
    thread: JoinHandle<usize>,
    door: Door,
}

/// The way in for connections of this process.
struct Door {
    shared: Arc<Shared>,
    seats: usize,
    workers: Vec<mpsc::UnboundedSender<Order>>,
    /// Whose turn it is.
    next: AtomicUsize,
}

impl Door {
    fn seat(&self) -> io::Result<Seat> {
        let seat = Seat::take(&self.shared, self.seats);
        seat.ok_or_else(|| io::Error::other("all connections are taken (max_connections)"))
    }

    fn worker(&self) -> &mpsc::UnboundedSender<Order> {
        &self.workers[self.next.fetch_add(1, Relaxed) % self.workers.len()]
    }
}

impl Proxy {
    /// Opens the listeners and begins to serve.
    ///
    /// # Errors
    /// When a listener cannot be opened or is the server itself, TLS files cannot be used, or threads cannot be started.
    pub fn start(config: Config) -> Result<Self, StartError> {
        #[cfg(feature = "admin")]
        let admin = admin::open(&config)?;
        let opened = config.listen.iter().map(|address| listen::open(address, config.allow_remote));
        let (listeners, addresses): (_, Vec<_>) = opened.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        refuse_itself(&config.upstream.address, &addresses)?;
        let threads = config.threads.max(1);
        let mut shared = Shared::new(policy(&config), threshold(&config), threads);
        shared.show_arguments = config.show_arguments;
        #[cfg(feature = "admin")]
        if admin.is_some() {
            shared.ledger = ledger::Ledger::new(threads);
        }
        let context = worker::Context {
            shared: Arc::new(shared),
            connector: Arc::new(Connector::new(&config.upstream, config.connect_timeout)?),
            tls: config.listener_tls.as_ref().map(tls::acceptor).transpose()?,
        };
        let has_ring = uring::is_wanted(config.io).map_err(StartError::Uring)?;
        let workers = (0..threads).map(|index| worker::start(index, has_ring, context.clone()));
        let workers = workers.collect::<io::Result<Vec<_>>>()?;
        let door = Door {
            shared: Arc::clone(&context.shared),
            seats: config.max_connections,
            workers: workers.iter().map(|worker| worker.orders.clone()).collect(),
            next: AtomicUsize::new(0),
        };
        #[cfg(feature = "admin")]
        let admin = admin.map(|opened| opened.serve(&context, &addresses)).transpose()?;
        let (orders, stops) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("unbusy-main".into())
            .spawn(move || runtime.block_on(lead(config, listeners, context, workers, stops)))?;
        Ok(Self {
            addresses,
            #[cfg(feature = "admin")]
            admin,
            stopper: Stopper { orders },
            thread,
            door,
        })
    }

    /// The addresses it listens on, with the real port where 0 was asked for, in the order of the configuration.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where metrics and state are served, if they are.
    #[cfg(feature = "admin")]
    pub fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref().map(admin::Admin::address)
    }

    /// Begins a connection to the server for this process, which goes the way of a client's connection to a listener. That the
    /// server cannot be reached is an error here, and not a reply.
    ///
    /// ```no_run
    /// use std::io::{Read, Write};
    /// use std::time::Duration;
    /// use unbusy_proxy::{Config, Proxy};
    /// let proxy = Proxy::start(Config { listen: Vec::new(), ..Config::default() })?;
    /// let mut stream = proxy.connect()?.wait(Duration::MAX).expect("waits without end")?;
    /// stream.write_all(b"INCR visits\r\n")?;
    /// stream.read(&mut [0; 64])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When all connections are taken or the system has no more sockets.
    pub fn connect(&self) -> io::Result<Connecting<UnixStream>> {
        let (inner, outer) = UnixStream::pair()?;
        inner.set_nonblocking(true)?;
        let (connecting, caller) = connecting::begin();
        let seat = self.door.seat()?;
        // One that has ended drops the order, and the caller hears of that.
        let _ = self.door.worker().send(Order::Serve(Accepted::Inner([inner, outer], caller), seat));
        Ok(connecting)
    }

    /// Begins a connection to the server that its user drives: what is sent and received, and what waits for the server, does
    /// so on the user's own thread, within its calls. That costs less by two changes of threads per command. Not for TLS.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unbusy_proxy::{Config, Proxy};
    /// let proxy = Proxy::start(Config { listen: Vec::new(), ..Config::default() })?;
    /// let mut direct = proxy.connect_direct()?.wait(Duration::MAX).expect("waits without end")?;
    /// direct.send(b"INCR visits\r\n", None)?;
    /// let reply = direct.fill(None)?.to_vec();
    /// direct.consume(reply.len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When all connections are taken. With TLS, the outcome is `Unsupported`.
    pub fn connect_direct(&self) -> io::Result<Connecting<Direct>> {
        let (connecting, caller) = connecting::begin();
        let seat = self.door.seat()?;
        let worker = self.door.worker();
        let _ = worker.send(Order::Connect(caller, seat, worker.clone()));
        Ok(connecting)
    }

    /// For how long the server has not been busy: zero while it is, `None` if it never was.
    pub fn calm(&self) -> Option<Duration> {
        self.door.shared.calm(sync::now())
    }

    /// Calls this for each event, which is logged as well. It must not block. Only the first one is called.
    pub fn watch(&self, watcher: impl Fn(&Event) + Send + Sync + 'static) {
        self.door.shared.watch(Box::new(watcher));
    }

    /// A handle that ends the proxy, for signal handlers and other threads.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until the proxy has ended, which a [`Stopper`] brings about. Tells how many connections had to be closed
    /// with commands in flight or held.
    pub fn join(self) -> usize {
        // A panic in there was reported on stderr when it happened.
        let cut_off = self.thread.join().unwrap_or_default();
        #[cfg(feature = "admin")]
        if let Some(admin) = self.admin {
            admin.end();
        }
        cut_off
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Ends a proxy. Cloneable; the proxy runs on when all are dropped.
#[derive(Debug, Clone)]
pub struct Stopper {
    orders: mpsc::UnboundedSender<Stop>,
}

#[derive(Debug)]
enum Stop {
    Drain(Duration),
    Now,
}

impl Stopper {
    /// Stops accepting, lets what is in flight or held finish within `grace`, then closes. Returns at once.
    pub fn drain(&self, grace: Duration) {
        // A proxy that has ended cannot be ended again.
        let _ = self.orders.send(Stop::Drain(grace));
    }

    /// Closes everything now. Returns at once.
    pub fn stop_now(&self) {
        let _ = self.orders.send(Stop::Now);
    }
}

fn refuse_itself(upstream: &Address, listeners: &[Address]) -> Result<(), StartError> {
    match listeners.iter().find(|listener| listen::is_reached_by(listener, upstream)) {
        None => Ok(()),
        Some(listen) => Err(StartError::Itself { upstream: upstream.clone(), listen: listen.clone() }),
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        max_wait: config.max_wait,
        busy: config.hold.busy,
        loading: config.hold.loading,
        strict: config.ordering == Ordering::Strict,
        one_read: config.upstream.tls.is_some(),
    }
}

fn threshold(config: &Config) -> Option<Duration> {
    match config.busy_threshold {
        BusyThreshold::Auto => Some(threshold::CAUTIOUS),
        BusyThreshold::Fixed(threshold) => (!threshold.is_zero()).then_some(threshold),
    }
}

/// The main thread's work: accepting, the gate's deadlines, the threshold, and the end. Gives the number of connections
/// that were cut off.
async fn lead(
    config: Config,
    listeners: Vec<Listener>,
    context: worker::Context,
    workers: Vec<Worker>,
    mut stops: mpsc::UnboundedReceiver<Stop>,
) -> usize {
    let shared = Arc::clone(&context.shared);
    let mut accepting = tokio::task::JoinSet::new();
    let orders: Vec<_> = workers.iter().map(|worker| worker.orders.clone()).collect();
    for listener in listeners {
        accepting.spawn(accept(listener, config.max_connections, context.clone(), orders.clone()));
    }
    let driver = Arc::clone(&shared);
    tokio::spawn(async move { driver.drive().await });
    if let Some(policy) = config.kill {
        let (shared, connector) = (Arc::clone(&shared), Arc::clone(&context.connector));
        let killer = kill::Killer { shared, connector, upstream: config.upstream.clone(), policy };
        tokio::spawn(killer.watch());
    }
    let (known, connector) = (Arc::clone(&shared), Arc::clone(&context.connector));
    tokio::spawn(stranger::follow(known, connector, config.upstream.clone()));
    let follow = threshold::follow(
        Arc::clone(&shared),
        Arc::clone(&context.connector),
        config.upstream,
        config.busy_threshold != BusyThreshold::Auto,
    );
    tokio::spawn(follow);
    let (mut grace, mut cut_off) = (None, 0);
    loop {
        let stop = tokio::select! {
            stop = stops.recv() => stop.unwrap_or(Stop::Now),
            () = expired(grace) => Stop::Now,
            () = all_ended(&orders) => break,
        };
        accepting.shutdown().await;
        match stop {
            Stop::Drain(time) => {
                grace.get_or_insert_with(|| tokio::time::Instant::now() + time);
                shared.set_stage(Stage::Draining);
            }
            Stop::Now => {
                // After a drain, those without commands have been closed.
                cut_off = cut_off.max(shared.connections.load(Relaxed) as usize);
                shared.set_stage(Stage::Stopped);
            }
        }
        for worker in &orders {
            // One that has ended has no connections to look after.
            let _ = worker.send(Order::Look);
        }
    }
    for worker in workers {
        let _ = worker.thread.join();
    }
    shared.close();
    cut_off
}

async fn expired(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn all_ended(workers: &[mpsc::UnboundedSender<Order>]) {
    for worker in workers {
        worker.closed().await;
    }
}

/// Takes connections and hands them to the workers in turn.
async fn accept(
    listener: Listener,
    seats: usize,
    context: worker::Context,
    workers: Vec<mpsc::UnboundedSender<Order>>,
) -> io::Result<()> {
    let open = Open::new(listener)?;
    for worker in workers.iter().cycle() {
        let accepted = match open.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly a lack of descriptors: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match Seat::take(&context.shared, seats) {
            Some(seat) => {
                let _ = worker.send(Order::Serve(accepted, seat));
            }
            None => turn_away(accepted, seats, context.tls.is_some()),
        }
    }
    Ok(())
}

fn turn_away(accepted: Accepted, seats: usize, tls: bool) {
    tracing::warn!(max_connections = seats, "a client was turned away: all connections are taken");
    let client = match accepted {
        Accepted::Tcp(stream) if !tls => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
        // Before the handshake there is no way to say anything.
        Accepted::Tcp(_) => return,
        Accepted::Unix(stream) | Accepted::Inner([stream, _], _) => {
            tokio::net::UnixStream::from_std(stream).map(Stream::Unix)
        }
    };
    if let Ok(mut client) = client {
        tokio::spawn(async move {
            let reason = "max number of clients reached (--max-connections)";
            serve::refuse(&mut client, Vec::new(), reason).await;
        });
    }
}

/// A listener in the runtime.
enum Open {
    Tcp(tokio::net::TcpListener),
    // The file goes first.
    Unix(
        #[expect(dead_code, reason = "removes the socket's file")] listen::SocketFile,
        tokio::net::UnixListener,
    ),
}

impl Open {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Listener::Unix(file, listener) => Self::Unix(file, tokio::net::UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await?.0.into_std().map(Accepted::Tcp),
            Self::Unix(_, listener) => listener.accept().await?.0.into_std().map(Accepted::Unix),
        }
    }
}
