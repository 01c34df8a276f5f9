//! A client for the proxy's admin endpoint.
#![allow(dead_code, reason = "each test binary uses its share")]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Proxy;

const PATIENCE: Duration = Duration::from_secs(20);
const ANNOUNCED: &str = "metrics and state are on http://";

/// Where a proxy serves it.
pub(crate) struct Endpoint {
    address: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, whose name is in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Endpoint {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        let line = proxy.wait_log(ANNOUNCED, PATIENCE);
        let address = line.split_once(ANNOUNCED).and_then(|(_, rest)| rest.split('/').next());
        Self { address: address.expect("an address").to_owned() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.get("/api/state").body).expect("JSON")
    }

    /// The value of a sample, named with its labels.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        self.sample(sample).parse().expect("a number")
    }

    pub(crate) fn count(&self, sample: &str) -> u64 {
        self.sample(sample).parse().expect("a whole number")
    }

    fn sample(&self, sample: &str) -> String {
        let page = self.get("/metrics").body;
        let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in:\n{page}")).to_owned()
    }

    /// Sends a request as it is written here.
    pub(crate) fn talk(&self, request: &str) -> Answer {
        let mut connection = self.connect();
        connection.send(request.as_bytes());
        connection.answer(PATIENCE).unwrap_or_else(|| panic!("no answer to {request:?}"))
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection(TcpStream::connect(&self.address).expect("a connection to the admin endpoint"))
    }
}

pub(crate) struct Connection(TcpStream);

impl Connection {
    /// Whether it is taken is another matter.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// All that comes until the endpoint closes, which it must do within the time; `None` if that is nothing.
    pub(crate) fn answer(&mut self, within: Duration) -> Option<Answer> {
        self.0.set_read_timeout(Some(within)).expect("a socket");
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("still open after {within:?}; it said {:?}", String::from_utf8_lossy(&bytes))
            }
            // What it did not read makes its end abrupt.
            Ok(_) | Err(_) => {}
        }
        let text = String::from_utf8(bytes).expect("UTF-8 text");
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }
}

/// Listens to events.
pub(crate) struct Listener(BufReader<TcpStream>);

impl Listener {
    pub(crate) fn to(endpoint: &Endpoint) -> Self {
        Self::try_to(endpoint).expect("events")
    }

    /// Not if the endpoint has listeners enough.
    pub(crate) fn try_to(endpoint: &Endpoint) -> Option<Self> {
        let mut connection = endpoint.connect();
        connection.send(format!("GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", endpoint.address).as_bytes());
        connection.0.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut listener = Self(BufReader::new(connection.0));
        listener.line().contains("200").then_some(listener)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line of the events");
        line
    }

    /// The data of the first event of this name that is as wanted.
    pub(crate) fn wait(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (begin, mut is_named) = (Instant::now(), false);
        while begin.elapsed() < PATIENCE {
            let line = self.line();
            if let Some(event) = line.strip_prefix("event:") {
                is_named = event.trim() == name;
            }
            if let Some(data) = line.strip_prefix("data:").filter(|_| is_named) {
                let data = serde_json::from_str(data).expect("JSON");
                if wanted(&data) {
                    return data;
                }
            }
        }
        panic!("no event {name} as wanted within {PATIENCE:?}")
    }
}
