//! The scripts that came through the proxy and are not answered: which, whose, and since when.
//!
//! A busy server tells none of that of a script, but the proxy has seen it pass by. Arguments and keys are not kept.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use unbusy_core::{Cause, Script, Time};

/// A script, and who runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    script: Name,
    client: Option<SocketAddr>,
    sent: Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Text(Box<[u8]>),
    Sha1(String),
    Function(String),
}

impl Call {
    /// What the command runs; `client` has no address if it came through a unix socket.
    pub(crate) fn new(command: &[u8], client: Option<SocketAddr>, sent: Time) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let script = match Script::of(command)? {
            Script::Text(text) => Name::Text(text.into()),
            Script::Sha1(sha) => Name::Sha1(text(sha).to_ascii_lowercase()),
            Script::Function(name) => Name::Function(text(name)),
            Script::Loaded(_) => return None,
        };
        Some(Self { script, client, sent })
    }

    fn is_of(&self, cause: Cause) -> bool {
        matches!(self.script, Name::Function(_)) == (cause == Cause::Function)
    }

    pub(crate) fn age(&self, now: Time) -> Duration {
        now - self.sent
    }

    /// The client's address, or that it has none.
    pub(crate) fn client(&self) -> String {
        self.client.map_or_else(|| "unix socket".to_owned(), |address| address.to_string())
    }
}

/// The function's name, or the SHA-1 of the text, by which a server knows it, too.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.script {
            // Counted only now, since it is seldom wanted.
            Name::Text(text) => write!(f, "{}", sha1_smol::Sha1::from(text).digest()),
            Name::Sha1(sha) => f.write_str(sha),
            Name::Function(name) => write!(f, "function {name:?}"),
        }
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller(u64);

/// The calls of all connections; each has one at most, the first that is unanswered.
#[derive(Debug, Default)]
pub(crate) struct Running {
    calls: Mutex<BTreeMap<Caller, Call>>,
    callers: AtomicU64,
}

impl Running {
    /// A connection that is to be told apart from now on.
    pub(crate) fn caller(&self) -> Caller {
        Caller(self.callers.fetch_add(1, Relaxed))
    }

    /// What a connection runs first now.
    pub(crate) fn note(&self, caller: Caller, call: Option<Call>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match call {
            Some(call) => calls.insert(caller, call),
            None => calls.remove(&caller),
        };
    }

    /// What may have made the server busy at `since`, the oldest first: it was sent a threshold ago or earlier, since it has run
    /// for the threshold. So was what lay unread behind it, which the server rejects in the first moments of BUSY.
    pub(crate) fn suspects(&self, cause: Cause, threshold: Duration, since: Time) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |call: &&Call| call.is_of(cause) && call.age(since) >= threshold;
        let mut suspects: Vec<_> = calls.values().filter(old).cloned().collect();
        suspects.sort_by_key(|call| call.sent);
        suspects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn those_of_its_kind_that_have_run_for_long_enough_are_suspects() {
        let running = Running::default();
        let call = |command: &[u8], millis| Call::new(command, None, at(millis));
        let [first, second, third] = [(); 3].map(|()| running.caller());
        assert_eq!(running.suspects(Cause::Script, THRESHOLD, at(1000)), []);
        running.note(first, call(b"EVALSHA ABC 0\r\n", 850));
        running.note(second, call(b"EVAL x 0\r\n", 800));
        running.note(third, call(b"FCALL f 0\r\n", 899));
        let names = |cause, since| -> Vec<String> {
            running.suspects(cause, THRESHOLD, at(since)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(Cause::Script, 1000), ["11f6ad8ec52a2984abaafd7c3b516503785c2072", "abc"]);
        assert!(names(Cause::Script, 899).is_empty(), "nothing has run for the threshold");
        assert_eq!(names(Cause::Function, 999), ["function \"f\""]);
        assert!(names(Cause::Function, 998).is_empty());
        running.note(second, None);
        assert_eq!(names(Cause::Script, 1000), ["abc"]);
    }
}
