//! The scripts that came through the proxy and are not answered: which, whose, and since when.
//!
//! A busy server tells none of that of a script, but the proxy has seen it pass by. Keys and arguments are kept only if they
//! are to be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use unbusy_core::resp::args;
use unbusy_core::{Cause, Company, Script, Sent, Time};

use crate::history::Culprit;

/// Of keys and arguments no more is told than about this.
const ARGUMENTS_BYTES_MAX: usize = 1024;

/// A script, and who runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) script: Sent,
    /// How many it was given.
    keys: Option<u64>,
    arguments: Option<String>,
    client: Client,
}

/// Who runs a script.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Client {
    /// None, if it came through a unix socket.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) user: Option<String>,
    pub(crate) name: Option<String>,
}

impl Client {
    /// The address, or that it has none.
    pub(crate) fn place(&self) -> String {
        self.address.map_or_else(|| "unix socket".to_owned(), |address| address.to_string())
    }
}

impl Call {
    /// What the command runs.
    pub(crate) fn new(
        command: &[u8],
        client: Client,
        sent: Time,
        company: Company,
        show_arguments: bool,
    ) -> Option<Self> {
        let script = Sent::new(Script::of(command)?, sent, company)?;
        let mut words = args(command).skip(2);
        let keys = words.next().and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
        let arguments = show_arguments.then(|| one_line(words));
        Some(Self { script, keys, arguments, client })
    }

    /// As far as it is known, and may be told.
    pub(crate) fn culprit(&self) -> Culprit {
        Culprit {
            script: self.script.to_string(),
            keys: self.keys,
            arguments: self.arguments.clone(),
            client: self.client.place(),
            name: self.client.name.clone(),
            user: self.client.user.clone(),
        }
    }
}

/// Keys and arguments in one line.
fn one_line<'a>(words: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        let room = ARGUMENTS_BYTES_MAX.saturating_sub(text.len());
        text.extend(word.iter().take(room).flat_map(|byte| byte.escape_ascii()).map(char::from));
        if text.len() >= ARGUMENTS_BYTES_MAX {
            return text + "…";
        }
    }
    text
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

    /// What may have made the server busy at `since`, the oldest first.
    pub(crate) fn suspects(&self, cause: Cause, threshold: Duration, since: Time) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let may = |call: &&Call| call.script.is_suspect(cause, threshold, since);
        let mut suspects: Vec<_> = calls.values().filter(may).cloned().collect();
        suspects.sort_by_key(|call| call.script.at);
        suspects
    }

    /// What has been unanswered for longest, if it has been for so long.
    pub(crate) fn overdue(&self, after: Duration, now: Time) -> Option<(Caller, Call)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, call) = calls.iter().min_by_key(|(_, call)| call.script.at)?;
        (call.script.age(now) >= after).then(|| (*caller, call.clone()))
    }

    /// Whether this call is unanswered, and no script of any other connection is on its way.
    pub(crate) fn is_only(&self, caller: Caller, sent: Time) -> bool {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.len() == 1 && calls.get(&caller).is_some_and(|call| call.script.at == sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn new(command: &[u8], millis: u64) -> Option<Call> {
        Call::new(command, Client::default(), at(millis), Company::Alone, false)
    }

    #[test]
    fn arguments_are_told_only_if_they_may_be() {
        let call = |command: &[u8], show| {
            let call = Call::new(command, Client::default(), at(1), Company::Alone, show);
            let Culprit { keys, arguments, .. } = call.expect("a script").culprit();
            (keys, arguments)
        };
        let command = b"*5\r\n$5\r\nFCALL\r\n$1\r\nf\r\n$1\r\n1\r\n$3\r\nkey\r\n$3\r\n\x01 b\r\n";
        assert_eq!(call(command, false), (Some(1), None));
        assert_eq!(call(command, true), (Some(1), Some("key \\x01 b".to_owned())));
        assert_eq!(call(b"FCALL f\r\n", true), (None, Some(String::new())));
        let long = [b"EVAL x 0 ".as_slice(), &[b'a'; 10_000], b" b\r\n"].concat();
        let (_, told) = call(&long, true);
        assert_eq!(told, Some("a".repeat(ARGUMENTS_BYTES_MAX) + "…"));
    }

    #[test]
    fn those_of_its_kind_that_have_run_for_long_enough_are_suspects() {
        let running = Running::default();
        let [first, second, third] = [(); 3].map(|()| running.caller());
        assert_eq!(running.suspects(Cause::Script, THRESHOLD, at(1000)), []);
        running.note(first, new(b"EVALSHA ABC 0\r\n", 850));
        running.note(second, new(b"EVAL x 0\r\n", 800));
        running.note(third, new(b"FCALL f 0\r\n", 899));
        let names = |cause, since| -> Vec<String> {
            running.suspects(cause, THRESHOLD, at(since)).iter().map(|call| call.script.to_string()).collect()
        };
        assert_eq!(names(Cause::Script, 1000), ["11f6ad8ec52a2984abaafd7c3b516503785c2072", "abc"]);
        assert!(names(Cause::Script, 899).is_empty(), "nothing has run for the threshold");
        assert_eq!(names(Cause::Function, 999), ["function \"f\""]);
        assert!(names(Cause::Function, 998).is_empty());
        running.note(second, None);
        assert_eq!(names(Cause::Script, 1000), ["abc"]);
    }

    #[test]
    fn only_the_oldest_is_overdue_and_only_the_last_left_is_alone() {
        let running = Running::default();
        let [first, second] = [(); 2].map(|()| running.caller());
        running.note(first, new(b"EVALSHA ABC 0\r\n", 850));
        running.note(second, new(b"EVAL x 0\r\n", 800));
        let overdue = |millis| running.overdue(THRESHOLD, at(millis)).map(|(caller, _)| caller);
        assert_eq!([overdue(899), overdue(900)], [None, Some(second)]);
        assert!(!running.is_only(second, at(800)));
        running.note(first, None);
        assert!(running.is_only(second, at(800)));
        assert!(!running.is_only(second, at(801)), "another of the same connection");
    }
}
