//! What the end-to-end tests share: the proxy in front of a real server, a client that never panics, and the data
//! as they are at the end.
#![allow(dead_code, unused_macros, reason = "each test binary uses its share")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::{BusyScript, Client, Proxy, Server, encode};

/// Longer than anything takes that is not broken.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Longer than any test: for a script that is ended with [`release`].
pub(crate) const ENDLESS: Duration = Duration::from_secs(60);

/// Makes one test per server of each function that takes a flavor.
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => {
        $crate::e2e::on_every_server!(redis_6_2: Redis62, $($test),+);
        $crate::e2e::on_every_server!(redis_7_0: Redis70, $($test),+);
        $crate::e2e::on_every_server!(valkey_9_1: Valkey91, $($test),+);
    };
    ($module:ident : $flavor:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    super::$test(testkit::Flavor::$flavor);
                }
            )+
        }
    };
}
pub(crate) use on_every_server;

/// The binary under test in front of a server.
pub(crate) fn start_proxy(server: &Server, args: &[&str]) -> Proxy {
    Proxy::start(binary(), &server.url(), args)
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_unbusy"))
}

/// Makes the server busy for about `duration`; it is so when this returns.
pub(crate) fn make_busy(server: &Server, duration: Duration) -> BusyScript {
    let mut control = server.client();
    loop {
        let script = BusyScript::start(server.address(), duration);
        let begin = Instant::now();
        while begin.elapsed() < duration {
            if control.cmd(&["PING"]).is_busy() {
                return script;
            }
        }
        // On a loaded machine a script can be over before anybody has asked.
        script.join();
    }
}

/// Ends a script that would run on; tells when.
pub(crate) fn release(server: &Server, script: BusyScript) -> Instant {
    assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
    let (reply, end) = script.join();
    assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
    end
}

/// Asks until the answer is yes.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The BUSY text of this server while an EVAL runs, as the whole reply.
pub(crate) fn busy_text(server: &Server) -> Vec<u8> {
    let script = make_busy(server, Duration::from_millis(250));
    let mut client = server.client();
    client.send_cmd(&["PING"]);
    let text = client.read_frame();
    assert!(text.starts_with(b"-BUSY "), "{}", show(&text));
    script.join();
    text
}

/// `ready`, but with the connection to the server surely made: its first command is answered.
pub(crate) fn ready(address: &str) -> Client {
    let mut client = Client::connect(address);
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    client
}

/// Splits `SET k 'a b'` into words.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            words.push(part.into());
        } else {
            words.extend(part.split_whitespace().map(Into::into));
        }
    }
    words
}

/// A line such as `SET k 'a b'` as a command on the wire.
pub(crate) fn command(line: &str) -> Vec<u8> {
    encode(&words(line))
}

/// Several such lines in one piece.
pub(crate) fn pipeline(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| command(line)).collect()
}

/// For messages.
pub(crate) fn show(bytes: &[u8]) -> String {
    const HEAD: usize = 1500;
    let text = bytes[..bytes.len().min(HEAD)].escape_ascii().to_string();
    let more = bytes.len().saturating_sub(HEAD);
    if more == 0 { text } else { format!("{text}… and {more} bytes more") }
}

/// Database, key and value of all there is.
pub(crate) type Data = Vec<(usize, String, Vec<u8>)>;

/// Every key of every database with its value; equal for equal data.
pub(crate) fn data(client: &mut Client) -> Data {
    let keyspace = client.cmd(&["INFO", "keyspace"]).text();
    let databases =
        keyspace.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':')?.0.parse().ok());
    let mut all = Vec::new();
    for db in databases {
        assert!(client.cmd(&["SELECT", &format!("{db}")]).is_ok());
        let mut keys: Vec<_> = client.cmd(&["KEYS", "*"]).items().iter().map(testkit::Reply::text).collect();
        keys.sort();
        for key in keys {
            // The dump of a stream contains the times at which its consumers were seen.
            match client.cmd(&["TYPE", &key]).text().as_str() {
                "stream" => client.send_cmd(&["XRANGE", &key, "-", "+"]),
                _ => client.send_cmd(&["DUMP", &key]),
            }
            all.push((db, key, client.read_frame()));
        }
    }
    assert!(client.cmd(&["SELECT", "0"]).is_ok());
    all
}

/// A client that collects what comes and survives whatever its peer does.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) seen: Vec<u8>,
    /// The peer has closed or reset the connection.
    pub(crate) closed: bool,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("cannot connect");
        stream.set_nodelay(true).expect("cannot set TCP_NODELAY");
        stream.set_write_timeout(Some(SOON)).expect("cannot set a time-out");
        Self { stream, seen: Vec::new(), closed: false }
    }

    /// False if the peer does not take it any more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The socket, which stays open as long as one of them is there.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("cannot clone the socket")
    }

    /// Whether there is something to read; it is left there.
    pub(crate) fn has_something(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let there = self.stream.peek(&mut [0]).is_ok_and(|count| count > 0);
        self.stream.set_nonblocking(false).expect("a socket");
        there
    }

    /// The sending half, for another thread.
    pub(crate) fn sender(&self) -> Self {
        Self { stream: self.stream(), seen: Vec::new(), closed: false }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&mut self) {
        // It fails when the peer was first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads until `done` says so, the peer closes, or the time is over; false unless `done` said so.
    pub(crate) fn wait_for(&mut self, timeout: Duration, done: impl Fn(&[u8]) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if done(&self.seen) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.closed || left.is_zero() || !self.read_some(left) {
                return false;
            }
        }
    }

    /// True if the peer closed within the time.
    pub(crate) fn wait_closed(&mut self, timeout: Duration) -> bool {
        self.wait_for(timeout, |_| false);
        self.closed
    }

    /// What is there now.
    pub(crate) fn read_ready(&mut self) {
        self.stream.set_nonblocking(true).expect("a socket");
        while self.read_some(SOON) {}
        self.stream.set_nonblocking(false).expect("a socket");
    }

    /// What came since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.seen)
    }

    fn read_some(&mut self, timeout: Duration) -> bool {
        if self.closed {
            return false;
        }
        let mut buffer = vec![0; 64 * 1024];
        let timeout = timeout.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(timeout)).expect("cannot set a time-out");
        match self.stream.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => self.seen.extend_from_slice(&buffer[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.closed = true,
        }
        !self.closed
    }
}
