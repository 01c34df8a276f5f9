//! A sick network between a client and a server.

mod line;

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::scripted::wake;
use line::Pair;

const REBIND_LIMIT: Duration = Duration::from_secs(5);
const REBIND_POLL: Duration = Duration::from_millis(5);

/// A TCP relay on a free loopback port that can be told to freeze, delay, cut and refuse connections.
///
/// Connections are counted from 0 in the order in which they are accepted.
///
/// ```
/// use std::time::Duration;
/// use testkit::{Client, Relay, ScriptedServer};
///
/// let server = ScriptedServer::start(|_, stream| {
///     let mut peer = Client::from(stream);
///     peer.read_frame();
///     peer.send(b"+PONG\r\n");
/// });
/// let relay = Relay::start(server.address());
/// let mut client = Client::connect(relay.address());
/// relay.freeze(0);
/// client.send_cmd(&["PING"]);
/// assert_eq!(client.try_read_frame(Duration::from_millis(30)), None);
/// relay.unfreeze();
/// assert_eq!(client.read_frame(), b"+PONG\r\n");
/// assert_eq!((relay.accepted(), relay.bytes_to_client()), (1, 7));
/// ```
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    text: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    /// Relays to `upstream`.
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free loopback port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared::default());
        shared.change(|s| s.listening = true);
        let acceptor = {
            let (shared, upstream) = (Arc::clone(&shared), upstream.to_owned());
            thread::spawn(move || run(listener, address, &upstream, &shared))
        };
        Self { address, text: address.to_string(), shared, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.text
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.text)
    }

    /// From now on no bytes (and no end) pass on connection `n`, in either direction; it stays open. A connection
    /// that is yet to come can be named too.
    pub fn freeze(&self, n: usize) {
        self.shared.change(|s| {
            s.frozen.insert(n);
        });
    }

    /// Freezes all connections, also those to come.
    pub fn freeze_all(&self) {
        self.shared.change(|s| s.all_frozen = true);
    }

    /// Ends every freeze; what was held back goes on.
    pub fn unfreeze(&self) {
        self.shared.change(|s| {
            s.all_frozen = false;
            s.frozen.clear();
        });
    }

    /// What is read from now on arrives this much later, in each direction: a line that is long, not narrow.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|s| s.delays = [delay; 2]);
    }

    /// Delays only what clients send.
    pub fn delay_requests(&self, delay: Duration) {
        self.shared.change(|s| s.delays[Way::ToUpstream as usize] = delay);
    }

    /// Delays only what the server sends.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared.change(|s| s.delays[Way::ToClient as usize] = delay);
    }

    /// Ends connection `n` at once with a reset to both sides; what is under way is lost.
    pub fn cut(&self, n: usize) {
        self.shared.change(|s| {
            s.cut.insert(n);
            if let Some(pair) = s.pairs.get(n).and_then(Weak::upgrade) {
                pair.reset();
            }
        });
    }

    /// While refusing, nobody listens on the port: clients get "connection refused". Connections that exist go on.
    pub fn refuse(&self, refuse: bool) {
        let mode = if refuse { Mode::Refuse } else { Mode::Listen };
        self.shared.change(|s| s.mode = mode);
        if refuse {
            wake(self.address);
        }
        drop(self.shared.wait_until(|s| s.listening != refuse));
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.state().pairs.len()
    }

    /// How many bytes were passed to the server, over all connections.
    pub fn bytes_to_upstream(&self) -> u64 {
        self.shared.bytes[Way::ToUpstream as usize].load(Ordering::Relaxed)
    }

    /// How many bytes were passed to clients, over all connections.
    pub fn bytes_to_client(&self) -> u64 {
        self.shared.bytes[Way::ToClient as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.change(|s| {
            s.mode = Mode::Stop;
            s.cut.extend(0..s.pairs.len());
            s.pairs.iter().filter_map(Weak::upgrade).for_each(|pair| pair.reset());
        });
        wake(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    ToUpstream,
    ToClient,
}

/// What the accepting thread is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Listen,
    Refuse,
    Stop,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    bytes: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct State {
    frozen: HashSet<usize>,
    all_frozen: bool,
    cut: HashSet<usize>,
    delays: [Duration; 2],
    mode: Mode,
    listening: bool,
    /// One entry per accepted connection. Only its threads own it, so that the sockets close when they end.
    pairs: Vec<Weak<Pair>>,
}

impl State {
    fn passes(&self, n: usize) -> bool {
        self.cut.contains(&n) || !(self.all_frozen || self.frozen.contains(&n))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the relay's state")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state();
        self.changed.wait_while(state, |s| !condition(s)).expect("the relay's state")
    }

    fn is_cut(&self, n: usize) -> bool {
        self.state().cut.contains(&n)
    }
}

/// The accepting thread: listens, or does not while it is to refuse.
fn run(first: TcpListener, address: SocketAddr, upstream: &str, shared: &Arc<Shared>) {
    let mut listener = first;
    loop {
        while let Ok((client, _)) = listener.accept() {
            if shared.state().mode != Mode::Listen {
                break;
            }
            line::connect(client, upstream, shared);
        }
        // A child process that somebody is starting right now holds a copy of the socket until its exec: closing ours
        // would not end the listening.
        let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        drop(listener);
        shared.change(|s| s.listening = false);
        if shared.wait_until(|s| s.mode != Mode::Refuse).mode == Mode::Stop {
            return;
        }
        listener = rebind(address);
        shared.change(|s| s.listening = true);
    }
}

fn rebind(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + REBIND_LIMIT;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(e) => assert!(Instant::now() < deadline, "cannot listen on {address} again: {e}"),
        }
        thread::sleep(REBIND_POLL);
    }
}
