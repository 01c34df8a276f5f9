//! Asks a proxy's admin endpoint for what the proxy sees of its server.

mod http;
mod state;

use std::io;
use std::time::Duration;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use state::{Condition, Counters, Episode, Scripts, State};

use crate::asking::printable;
use crate::cli::EndpointSettings;

/// More than ten thousand episodes.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Of an error's text this is shown.
const REASON_CHARS_MAX: usize = 200;
/// The endpoint sends something every 10 s, if only to say that it lives.
const SILENT_MAX: Duration = Duration::from_secs(15);

/// Where a proxy is asked.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint(EndpointSettings);

/// Why it tells nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Unreachable(String),
    /// It answers with an error.
    Refused(String),
}

/// What happens in a proxy, as it happens.
pub(crate) struct Events(BufReader<TcpStream>);

#[derive(Debug)]
pub(crate) enum Event {
    State(Box<State>),
    /// These are over.
    Episodes(Vec<Episode>),
}

impl Endpoint {
    pub(crate) const fn new(settings: EndpointSettings) -> Self {
        Self(settings)
    }

    /// All that `/api/state` tells.
    pub(crate) async fn state(&self) -> Result<Value, Failure> {
        self.read("/api/state").await
    }

    /// What scripts have cost.
    pub(crate) async fn scripts(&self) -> Result<Scripts, Failure> {
        self.read("/api/scripts").await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let (status, body) = self.get(path).await?;
        if status != 200 {
            return Err(Failure::refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| Failure::Refused(not_understood(&error)))
    }

    /// Why clients cannot be served, if so.
    pub(crate) async fn unready(&self) -> Result<Option<String>, Failure> {
        let (status, body) = self.get("/readyz").await?;
        let reason = || reason(&body);
        match status {
            200 => Ok(None),
            503 => Ok(Some(reason())),
            _ => Err(Failure::refused(status, &body)),
        }
    }

    pub(crate) async fn events(&self) -> Result<Events, Failure> {
        self.in_time(async {
            let mut response = http::get(&self.0.address, "/api/events").await?;
            if response.status == 200 {
                return Ok(Ok(Events(response.body)));
            }
            let body = read(&mut response.body).await?;
            Ok(Err(Failure::refused(response.status, &body)))
        })
        .await?
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), Failure> {
        self.in_time(async {
            let mut response = http::get(&self.0.address, path).await?;
            Ok((response.status, read(&mut response.body).await?))
        })
        .await
    }

    async fn in_time<T>(&self, question: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
        match timeout(self.0.timeout, question).await {
            Ok(answer) => answer.map_err(|error| Failure::Unreachable(error.to_string())),
            Err(_) => Err(Failure::Unreachable(format!("no answer within {:?}", self.0.timeout))),
        }
    }
}

impl State {
    pub(crate) fn of(value: &Value) -> Result<Self, Failure> {
        Self::deserialize(value).map_err(|error| Failure::Refused(not_understood(&error)))
    }
}

impl Failure {
    fn refused(status: u16, body: &[u8]) -> Self {
        Self::Refused(format!("it answers {status}: {}", reason(body)))
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason) | Self::Refused(reason) => reason,
        }
    }
}

impl Events {
    /// The next one; an error ends them.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        match timeout(SILENT_MAX, self.read()).await {
            Ok(event) => event,
            Err(_) => Err(io::Error::other(format!("nothing came for {SILENT_MAX:?}"))),
        }
    }

    // An event is a line with its name and one with its data; an empty one ends it. Others are comments.
    async fn read(&mut self) -> io::Result<Event> {
        let mut name = String::new();
        loop {
            let line = http::line(&mut self.0, BODY_BYTES_MAX).await?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.trim_start();
            match (field, name.as_str()) {
                ("event", _) => value.clone_into(&mut name),
                ("data", "state") => return Ok(Event::State(serde_json::from_str(value)?)),
                ("data", "episodes") => return Ok(Event::Episodes(serde_json::from_str(value)?)),
                _ => {}
            }
        }
    }
}

async fn read(body: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = body.take(BODY_BYTES_MAX).read_to_end(&mut bytes).await?;
    if count as u64 == BODY_BYTES_MAX {
        return Err(io::Error::other("an answer of more than 16 MiB"));
    }
    Ok(bytes)
}

fn reason(body: &[u8]) -> String {
    printable(String::from_utf8_lossy(body).trim()).chars().take(REASON_CHARS_MAX).collect()
}

fn not_understood(error: &serde_json::Error) -> String {
    format!("its answer is not understood ({error}); is it a proxy's --admin, and of this version?")
}
