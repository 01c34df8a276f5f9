//! A raw client that shows every byte.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{FrameScanner, Reply, encode};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
const READ_SIZE: usize = 64 * 1024;

/// A blocking RESP client without any cleverness: it sends what it is told and gives back the exact bytes.
///
/// Also good as the server's half in a [`crate::ScriptedServer`]: a command is a frame like any other.
///
/// ```no_run
/// # use testkit::{Client, Flavor, Server};
/// let server = Server::start(Flavor::Redis70);
/// let mut client = Client::connect(server.address());
/// assert_eq!(client.cmd(&["INCR", "k"]).integer(), 1);
/// client.send(b"PING\r\nPING\r\n");
/// assert_eq!(client.read_frame(), b"+PONG\r\n");
/// ```
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    timeout: Duration,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    taken: usize,
}

impl Client {
    /// Connects over TCP, without Nagle's delay.
    pub fn connect(address: impl ToSocketAddrs) -> Self {
        let stream = TcpStream::connect(address).expect("cannot connect");
        stream.into()
    }

    /// Connects to a unix socket.
    pub fn connect_unix(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Self::try_connect_unix(path).unwrap_or_else(|| panic!("cannot connect to {}", path.display()))
    }

    pub(crate) fn try_connect_unix(path: &Path) -> Option<Self> {
        UnixStream::connect(path).ok().map(Self::from)
    }

    fn new(stream: Stream) -> Self {
        stream.set_write_timeout(DEFAULT_TIMEOUT).expect("cannot set a time-out");
        Self { stream, timeout: DEFAULT_TIMEOUT, buffer: Vec::new(), taken: 0 }
    }

    /// Its own address, as the peer sees it.
    ///
    /// # Panics
    /// When it is connected to a unix socket.
    pub fn local_address(&self) -> String {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("an address").to_string(),
            Stream::Unix(_) => panic!("a unix socket has no address"),
        }
    }

    /// How long a read waits before it panics (20 s unless told otherwise).
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(e) = self.stream.write_all(bytes) {
            panic!("cannot send {} bytes: {e}", bytes.len());
        }
    }

    /// Sends one command and does not wait.
    pub fn send_cmd(&mut self, words: &[impl AsRef<[u8]>]) {
        self.send(&encode(words));
    }

    /// Sends one command and waits for its reply.
    pub fn cmd(&mut self, words: &[impl AsRef<[u8]>]) -> Reply {
        self.send_cmd(words);
        let deadline = Deadline::after(self.timeout);
        let frame = self.frame_before(&deadline).unwrap_or_else(|| {
            let words: Vec<_> = words.iter().map(|w| w.as_ref().escape_ascii().to_string()).collect();
            panic!("no reply to {words:?} within {:?}{}", self.timeout, self.unread())
        });
        Reply::parse(&frame)
    }

    /// The raw bytes of the next frame.
    pub fn read_frame(&mut self) -> Vec<u8> {
        self.frame_before(&Deadline::after(self.timeout))
            .unwrap_or_else(|| panic!("no complete frame within {:?}{}", self.timeout, self.unread()))
    }

    /// The next frame if it is complete within `timeout`; what has come of it is kept for the next read.
    pub fn try_read_frame(&mut self, timeout: Duration) -> Option<Vec<u8>> {
        self.frame_before(&Deadline::after(timeout))
    }

    /// The next frame, decoded.
    pub fn read_reply(&mut self) -> Reply {
        Reply::parse(&self.read_frame())
    }

    /// Sends all of `bytes` while reading `frames` frames, so that neither side can fill up and block the other.
    pub fn exchange(&mut self, bytes: &[u8], frames: usize) -> Vec<Vec<u8>> {
        let mut writer = self.stream.try_clone().expect("cannot clone the socket");
        thread::scope(|scope| {
            let sending = scope.spawn(move || writer.write_all(bytes));
            let replies = (0..frames).map(|_| self.read_frame()).collect();
            sending.join().expect("the sender").expect("cannot send");
            replies
        })
    }

    /// Reads until nothing came for `quiet` or the peer closed.
    pub fn read_available(&mut self, quiet: Duration) -> Vec<u8> {
        while matches!(self.fill(&Deadline::after(quiet)), Filled::Some) {}
        self.take(self.buffer.len() - self.taken)
    }

    /// Exactly `count` bytes.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let deadline = Deadline::after(self.timeout);
        while self.buffer.len() - self.taken < count {
            assert!(
                self.fill_open(&deadline),
                "not {count} bytes within {:?}{}",
                self.timeout,
                self.unread()
            );
        }
        self.take(count)
    }

    /// All bytes until the peer closes or resets the connection.
    pub fn read_to_end(&mut self, timeout: Duration) -> Vec<u8> {
        let deadline = Deadline::after(timeout);
        loop {
            match self.fill(&deadline) {
                Filled::Some => {}
                Filled::Closed => return self.take(self.buffer.len() - self.taken),
                Filled::TimedOut => panic!("the peer did not close within {timeout:?}{}", self.unread()),
            }
        }
    }

    /// Says that nothing more will be sent; reading goes on.
    pub fn shutdown_write(&mut self) {
        self.stream.shutdown_write().expect("cannot shut down");
    }

    fn frame_before(&mut self, deadline: &Deadline) -> Option<Vec<u8>> {
        let mut scanner = FrameScanner::default();
        loop {
            if let Some(len) = scanner.end(&self.buffer[self.taken..]) {
                return Some(self.take(len));
            }
            // The scanner counts from the start of the frame, so the buffer may move under it.
            if !self.fill_open(deadline) {
                return None;
            }
        }
    }

    /// Reads more; false when the time is over.
    fn fill_open(&mut self, deadline: &Deadline) -> bool {
        match self.fill(deadline) {
            Filled::Some => true,
            Filled::TimedOut => false,
            Filled::Closed => panic!("the peer closed the connection{}", self.unread()),
        }
    }

    fn fill(&mut self, deadline: &Deadline) -> Filled {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + READ_SIZE, 0);
        let result = self.stream.read_before(&mut self.buffer[old..], deadline);
        self.buffer.truncate(old + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Filled::Closed,
            Ok(_) => Filled::Some,
            Err(e) if is_timeout(&e) => Filled::TimedOut,
            Err(e) if is_disconnect(&e) => Filled::Closed,
            Err(e) => panic!("cannot read: {e}"),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let end = self.taken + count;
        let bytes = self.buffer[self.taken..end].to_vec();
        self.taken = end;
        bytes
    }

    /// For messages: what has come so far.
    fn unread(&self) -> String {
        let bytes = &self.buffer[self.taken..];
        let head = &bytes[..bytes.len().min(200)];
        format!("; {} bytes unread: \"{}\"", bytes.len(), head.escape_ascii())
    }
}

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("cannot set TCP_NODELAY");
        Self::new(Stream::Tcp(stream))
    }
}

impl From<UnixStream> for Client {
    fn from(stream: UnixStream) -> Self {
        Self::new(Stream::Unix(stream))
    }
}

enum Filled {
    Some,
    Closed,
    TimedOut,
}

struct Deadline(Instant);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// Never zero, which the socket would take for "no limit"; so what is already there can always be read.
    fn left(&self) -> Duration {
        let left = self.0.saturating_duration_since(Instant::now());
        left.max(Duration::from_millis(1))
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read_before(&mut self, buffer: &mut [u8], deadline: &Deadline) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.set_read_timeout(Some(deadline.left())).and_then(|()| s.read(buffer)),
            Self::Unix(s) => s.set_read_timeout(Some(deadline.left())).and_then(|()| s.read(buffer)),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.write_all(bytes),
            Self::Unix(s) => s.write_all(bytes),
        }
    }

    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.set_write_timeout(Some(timeout)),
            Self::Unix(s) => s.set_write_timeout(Some(timeout)),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(s) => s.try_clone().map(Self::Tcp),
            Self::Unix(s) => s.try_clone().map(Self::Unix),
        }
    }
}

fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_disconnect(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
