//! Memory: what an idle client costs, and what one costs that sends without end while it is held.
//!
//! The measured figures are printed; `--nocapture` shows them.
mod e2e_support;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use e2e_support::{on_every_server, proxy, report, wait_until};
use rustix::process::{Resource, getrlimit, setrlimit};
use testkit::{BusyScript, Flavor, Proxy, Server, encode, wait_until_busy};

const IDLE_PAIR_AT_MOST: u64 = 3 * 1024;
/// As many clients as that, if so many files may be opened; with fewer than this the test says nothing.
const MANY: u64 = 10_000;
const TOO_FEW: u64 = 5_000;
/// What a proxy opens besides the two sockets of each pair: the first clients, listeners, the runtime.
const OTHER_FILES: u64 = 260;

const FLOOD: usize = 1_000_000_000;
const FLOOD_VALUE: usize = 4096;
/// A window of 48 KiB and a read of 64 KiB lie in a buffer that grows by doubling, to 128 KiB; the allocator may keep the half that
/// it was before. Beside it are the records of the commands, and the system counts in pages.
const FLOOD_COSTS_AT_MOST: u64 = 256 * 1024;
/// When it flows again, replies that the client has not taken yet come on top, and what the allocator keeps of buffers that
/// grew and shrank.
const FLOWING_COSTS_AT_MOST: u64 = 640 * 1024;

#[test]
fn an_idle_client_costs_little() {
    let clients = how_many();
    let server = Server::builder(Flavor::Redis70).arg("--maxclients").arg("12000").start();
    let proxy = proxy(&server, &["--max-connections", "12000"]);
    // The first clients pay for what is there once.
    let first = idle_clients(&proxy, 100);
    let before = proxy.rss_bytes();
    let idle = idle_clients(&proxy, clients);
    let each = proxy.rss_bytes().saturating_sub(before) / clients;
    report(&format!("{clients} idle clients cost {each} bytes each"));
    assert!(each <= IDLE_PAIR_AT_MOST, "an idle client costs {each} bytes");
    drop((first, idle));
}

#[test]
fn a_client_that_sends_a_gigabyte_while_held_costs_its_window() {
    on_every_server(|server, proxy| {
        warm_up(server, proxy);
        let before = proxy.rss_bytes();
        let script = BusyScript::start(server.address(), Duration::from_secs(120));
        script.wait_until_busy(server.address());
        let flood = Flood::new(proxy);
        let (held_peak, peak) = thread::scope(|scope| {
            let _close = CloseOnDrop(&flood.stream);
            scope.spawn(|| flood.send());
            let replies = scope.spawn(|| flood.read_replies());
            let mut peak = before;
            wait_until("the flood is held back", || {
                peak = peak.max(proxy.rss_bytes());
                flood.is_stuck()
            });
            let held_peak = peak;
            assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
            while !replies.is_finished() {
                peak = peak.max(proxy.rss_bytes());
                thread::sleep(Duration::from_millis(5));
            }
            replies.join().expect("only +OK");
            report(&format!(
                "{}: held, the flood cost {} bytes; in all {}",
                server.flavor(),
                held_peak - before,
                peak - before
            ));
            (held_peak, peak)
        });
        assert!(script.join().0.starts_with(b"-ERR "));
        let (held, flowing, flavor) = (held_peak - before, peak - before, server.flavor());
        assert!(held <= FLOOD_COSTS_AT_MOST, "{flavor}: the flood cost {held} bytes while it was held");
        assert!(flowing <= FLOWING_COSTS_AT_MOST, "{flavor}: the flood cost {flowing} bytes");
        assert_eq!(server.client().cmd(&["GET", "k"]).text().len(), FLOOD_VALUE);
    });
}

/// Replies are kept for who sends a pipeline before it takes any, but not without end.
#[test]
fn a_client_that_sends_and_never_reads_is_not_served_without_end() {
    const MIB: u64 = 1024 * 1024;
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &[]);
    let before = proxy.rss_bytes();
    let mut client = TcpStream::connect(proxy.address()).expect("the proxy");
    client.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out");
    let command = encode(&["SET", "k", &"x".repeat(FLOOD_VALUE), "GET"]);
    let taken = (0..FLOOD / command.len()).take_while(|_| client.write_all(&command).is_ok()).count();
    assert!(taken < FLOOD / command.len(), "all was taken");
    let grown = proxy.rss_bytes() - before;
    assert!((60 * MIB..160 * MIB).contains(&grown), "it cost {grown} bytes");
}

/// As many clients as the limit of open files allows, which is raised as far as it goes; the proxy inherits it.
fn how_many() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be raised to the hard one");
    let files = limit.maximum.unwrap_or(u64::MAX);
    let clients = MANY.min(files.saturating_sub(OTHER_FILES) / 2);
    assert!(clients >= TOO_FEW, "{files} open files are too few for this test");
    clients
}

/// Clients that are connected to the server for sure. Bare sockets, for the test's own memory.
fn idle_clients(proxy: &Proxy, count: u64) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut client = TcpStream::connect(proxy.address()).expect("the proxy takes more clients");
            client.write_all(&encode(&["PING"])).expect("a PING");
            let mut pong = [0; 7];
            client.read_exact(&mut pong).expect("an answer");
            assert_eq!(&pong, b"+PONG\r\n");
            client
        })
        .collect()
}

/// Once through everything that is measured, so that code and tables are in memory.
fn warm_up(server: &Server, proxy: &Proxy) {
    let script = BusyScript::start(server.address(), Duration::from_millis(300));
    wait_until_busy(server.address());
    let commands = set_command().repeat(1000);
    let replies = testkit::Client::connect(proxy.address()).exchange(&commands, 1000);
    assert!(replies.iter().all(|reply| reply == b"+OK\r\n"));
    script.join();
}

fn set_command() -> Vec<u8> {
    encode(&["SET", "k", &"x".repeat(FLOOD_VALUE)])
}

/// A client that sends a gigabyte as fast as it is taken.
struct Flood {
    stream: TcpStream,
    command: Vec<u8>,
    sent: AtomicU64,
    progress: Mutex<(u64, Instant)>,
}

impl Flood {
    const STUCK: Duration = Duration::from_millis(300);

    fn new(proxy: &Proxy) -> Self {
        Self {
            stream: TcpStream::connect(proxy.address()).expect("the proxy"),
            command: set_command(),
            sent: AtomicU64::new(0),
            progress: Mutex::new((0, Instant::now())),
        }
    }

    fn commands(&self) -> usize {
        FLOOD / self.command.len()
    }

    fn send(&self) {
        for _ in 0..self.commands() {
            (&self.stream).write_all(&self.command).expect("the proxy takes it");
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Something was sent, and for a while nothing more.
    fn is_stuck(&self) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        let mut progress = self.progress.lock().expect("the progress");
        if progress.0 != sent {
            *progress = (sent, Instant::now());
        }
        assert!(sent < self.commands() as u64, "all was taken while the server was busy");
        sent > 0 && progress.1.elapsed() >= Self::STUCK
    }

    fn read_replies(&self) {
        let mut expected = b"+OK\r\n".iter().cycle();
        let mut missing = self.commands() * 5;
        let mut buffer = vec![0; 64 * 1024];
        while missing > 0 {
            let count = (&self.stream).read(&mut buffer).expect("replies");
            assert!(count > 0, "the proxy closed the connection");
            for byte in &buffer[..count] {
                assert_eq!(Some(byte), expected.next(), "{}", buffer[..count.min(300)].escape_ascii());
            }
            missing -= count;
        }
    }
}

/// Lets the threads at the socket end if the test panics.
struct CloseOnDrop<'a>(&'a TcpStream);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
