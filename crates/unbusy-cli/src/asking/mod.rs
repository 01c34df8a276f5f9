//! Asks a server for its state, also while it is busy.
//!
//! No database is selected, since servers reject that while they are busy, and nothing is asked in RESP3.

mod condition;
mod info;
mod words;

use std::io;
use std::time::{Duration, Instant};

use unbusy_core::command::Kind;
use unbusy_core::{Cause, rejected};
use unbusy_proxy::{Connector, Inquiry, InquiryError, Upstream};

use condition::Running;
pub(crate) use condition::{Busy, Condition};
pub(crate) use info::{field, info_lines};
pub(crate) use unbusy_proxy::{Reply, printable};
pub(crate) use words::{ago, millis};

use crate::cli::ServerSettings;

/// Who asks.
pub(crate) struct Asker {
    connector: Connector,
    upstream: Upstream,
    timeout: Duration,
}

/// A connection that is logged in.
pub(crate) struct Link {
    inquiry: Inquiry,
    timeout: Duration,
}

impl Asker {
    pub(crate) fn new(settings: &ServerSettings) -> anyhow::Result<Self> {
        let connector = Connector::new(&settings.upstream, settings.timeout);
        let connector = connector.map_err(|error| settings.origins.explain(error.into()))?;
        Ok(Self { connector, upstream: settings.upstream.clone(), timeout: settings.timeout })
    }

    /// Connects and logs in; or the state that keeps it from that.
    pub(crate) async fn connect(&self) -> Result<Link, Condition> {
        let inquiry = self.connector.inquire().await.map_err(|error| match error {
            InquiryError::Silent(silent) => Condition::Stalled { silent },
            error => Condition::Unreachable { reason: error.to_string() },
        })?;
        let mut link = Link { inquiry, timeout: self.timeout };
        let answer = tokio::time::timeout(self.timeout, link.inquiry.log_in(&self.upstream)).await;
        match answered(answer, self.timeout)?.as_deref().map(Reply::parse) {
            // Where no password is wanted, a superfluous one is no harm.
            Some(Reply::Error(reason)) if !reason.starts_with("ERR ") => {
                Err(Condition::Refused { reason: printable(&reason) })
            }
            _ => Ok(link),
        }
    }
}

impl Link {
    /// One question, and the reply in time.
    pub(crate) async fn ask(&mut self, words: &[&str]) -> Result<Reply, Condition> {
        let answer = tokio::time::timeout(self.timeout, self.inquiry.ask(words)).await;
        answered(answer, self.timeout).map(|reply| Reply::parse(&reply))
    }

    /// The server's state now.
    pub(crate) async fn look(&mut self) -> Condition {
        self.try_to_look().await.unwrap_or_else(|condition| condition)
    }

    async fn try_to_look(&mut self) -> Result<Condition, Condition> {
        let sent = Instant::now();
        let mut reply = self.ask(&["PING"]).await?;
        // A server that cannot save says so to a PING, whether it is busy or not, but not to this.
        if matches!(reply.error(), Some(("MISCONF", _))) {
            reply = self.ask(&["ECHO", "unbusy"]).await?;
        }
        let round_trip = sent.elapsed();
        match &reply {
            Reply::Error(error) => self.behind(error).await,
            _ => Ok(Condition::Open { round_trip }),
        }
    }

    /// The state that shows in an error.
    pub(crate) async fn behind(&mut self, error: &str) -> Result<Condition, Condition> {
        let (code, message) = error.split_once(' ').unwrap_or((error, ""));
        let reason = printable(error);
        Ok(match rejected(code, message, Kind::Plain) {
            Some(Cause::Loading) => Condition::Loading { reason },
            Some(cause) => {
                let function = if cause == Cause::Function { self.running_function().await? } else { None };
                Condition::Busy(Busy { cause, error: reason, function })
            }
            None => Condition::Refused { reason },
        })
    }

    /// The threshold of a server that is not busy, if it may be read.
    pub(crate) async fn threshold(&mut self) -> Option<Duration> {
        // Redis 7.0 gave it a new name and keeps the old one as an alias.
        for name in ["busy-reply-threshold", "lua-time-limit"] {
            let reply = self.ask(&["CONFIG", "GET", name]).await.ok()?;
            if let Some(millis) = reply.get(name).and_then(Reply::number) {
                return Some(Duration::from_millis(millis));
            }
        }
        None
    }

    /// What `FUNCTION STATS` tells; nothing if it is over by now, or may not be asked.
    async fn running_function(&mut self) -> Result<Option<Running>, Condition> {
        Ok(running(&self.ask(&["FUNCTION", "STATS"]).await?))
    }
}

fn running(stats: &Reply) -> Option<Running> {
    let script = stats.get("running_script")?;
    let words = script.get("command").map(Reply::items).unwrap_or_default();
    Some(Running {
        name: script.get("name")?.text()?,
        since: Duration::from_millis(script.get("duration_ms")?.number()?),
        command: words.iter().filter_map(Reply::text).collect(),
    })
}

fn answered<T>(
    answer: Result<io::Result<T>, tokio::time::error::Elapsed>,
    limit: Duration,
) -> Result<T, Condition> {
    match answer {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(Condition::Unreachable { reason: error.to_string() }),
        Err(_) => Err(Condition::Stalled { silent: limit }),
    }
}

/// Runs to the end on this thread.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_stats() {
        let stats = b"*4\r\n$14\r\nrunning_script\r\n*6\r\n$4\r\nname\r\n$4\r\nslow\r\n$7\r\ncommand\r\n*2\r\n$5\r\nFCALL\r\n\
            $4\r\nslow\r\n$11\r\nduration_ms\r\n:1500\r\n$7\r\nengines\r\n*0\r\n";
        let expected = Running {
            name: "slow".to_owned(),
            since: Duration::from_millis(1500),
            command: vec!["FCALL".to_owned(), "slow".to_owned()],
        };
        assert_eq!(running(&Reply::parse(stats)), Some(expected));
        assert_eq!(
            running(&Reply::parse(b"*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*0\r\n")),
            None
        );
        assert_eq!(running(&Reply::parse(b"-ERR unknown command\r\n")), None);
    }
}
