//! Which script a command runs or loads, and what is remembered of one that was sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::command::{Command, Kind};
use crate::resp::args;
use crate::{Cause, Time};

/// What a command of the families `EVAL`, `EVALSHA` and `FCALL` runs, or `SCRIPT LOAD` loads.
///
/// ```
/// use unbusy_core::Script;
/// assert_eq!(Script::of(b"EVAL return 0\r\n"), Some(Script::Text(b"return")));
/// assert_eq!(Script::of(b"fcall_ro slow 0\r\n"), Some(Script::Function(b"slow")));
/// assert_eq!(Script::of(b"GET k\r\n"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script<'a> {
    /// This text.
    Text(&'a [u8]),
    /// The text with this SHA-1, in hexadecimal digits.
    Sha1(&'a [u8]),
    /// The function of this name.
    Function(&'a [u8]),
    /// This text, and does not run it.
    Loaded(&'a [u8]),
}

/// What is in flight on a connection besides its first script. Replies come when the last of them has run, so it may be
/// another one that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// No other script.
    Alone,
    /// Nor here, but it is in a transaction.
    Transaction,
    /// Other scripts.
    Others,
}

impl<'a> Script<'a> {
    /// The script of a complete command, if it has one.
    pub fn of(request: &'a [u8]) -> Option<Self> {
        match Command::read(request).kind {
            Kind::Script => Self::run_by(args(request)),
            Kind::Load => args(request).nth(2).map(Self::Loaded),
            _ => None,
        }
    }

    /// The script that a command of these words runs; of any other command only the first word is looked at.
    ///
    /// ```
    /// use unbusy_core::Script;
    /// assert_eq!(Script::run_by([&b"FCALL"[..], b"slow", b"0"]), Some(Script::Function(b"slow")));
    /// assert_eq!(Script::run_by([&b"GET"[..], b"k"]), None);
    /// ```
    pub fn run_by(words: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut words = words.into_iter();
        let family = words.next().filter(|name| Self::may_be_run_by(name))?;
        let is = |name: &str| family.eq_ignore_ascii_case(name.as_bytes());
        let script = if is("EVAL") || is("EVAL_RO") {
            Self::Text
        } else if is("EVALSHA") || is("EVALSHA_RO") {
            Self::Sha1
        } else if is("FCALL") || is("FCALL_RO") {
            Self::Function
        } else {
            return None;
        };
        words.next().map(script)
    }

    /// Tells nearly all other commands from those that run a script by a glance at their names.
    pub const fn may_be_run_by(name: &[u8]) -> bool {
        matches!(name, [b'E' | b'e', b'V' | b'v', ..] | [b'F' | b'f', b'C' | b'c', ..])
    }

    /// The text, digits or name.
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(bytes) | Self::Sha1(bytes) | Self::Function(bytes) | Self::Loaded(bytes) => bytes,
        }
    }

    /// One of the same kind with another text, digits or name.
    pub(crate) const fn with(self, bytes: &[u8]) -> Script<'_> {
        match self {
            Self::Text(_) => Script::Text(bytes),
            Self::Sha1(_) => Script::Sha1(bytes),
            Self::Function(_) => Script::Function(bytes),
            Self::Loaded(_) => Script::Loaded(bytes),
        }
    }
}

/// A script that was sent and may be unanswered, without its keys and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    name: Name,
    /// When it was sent.
    pub at: Time,
    /// What was sent along with it.
    pub company: Company,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Text(Arc<[u8]>),
    Sha1(String),
    Function(String),
}

impl Sent {
    /// `None` if it was only loaded.
    pub fn new(script: Script<'_>, at: Time, company: Company) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = match script {
            Script::Text(text) => Name::Text(text.into()),
            Script::Sha1(sha) => Name::Sha1(text(sha).to_ascii_lowercase()),
            Script::Function(name) => Name::Function(text(name)),
            Script::Loaded(_) => return None,
        };
        Some(Self { name, at, company })
    }

    /// Whether it can be what a server says it is busy with.
    pub fn is_of(&self, cause: Cause) -> bool {
        matches!(self.name, Name::Function(_)) == (cause == Cause::Function)
    }

    /// Whether it may have made the server busy at `since`: it was sent a threshold ago or earlier, since it has run for the
    /// threshold. So was what lay unread behind it, which the server rejects in the first moments of BUSY.
    pub fn is_suspect(&self, cause: Cause, threshold: Duration, since: Time) -> bool {
        self.is_of(cause) && self.age(since) >= threshold
    }

    /// The same of one that was answered at `answered` already: nothing that began later has run for the threshold.
    pub fn was_suspect(&self, cause: Cause, threshold: Duration, answered: Time, since: Time) -> bool {
        self.is_suspect(cause, threshold, answered) && since - answered < threshold
    }

    /// How long ago it was sent.
    pub fn age(&self, now: Time) -> Duration {
        now - self.at
    }

    /// The function's name, or the SHA-1 of the text.
    pub fn name(&self) -> String {
        match &self.name {
            // Counted only now, since it is seldom wanted.
            Name::Text(text) => sha1_smol::Sha1::from(text).digest().to_string(),
            Name::Sha1(name) | Name::Function(name) => name.clone(),
        }
    }
}

/// What it runs, as a server knows it, too.
impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Function(name) => write!(f, "function {name:?}"),
            Name::Text(_) | Name::Sha1(_) => f.write_str(&self.name()),
        }?;
        match self.company {
            Company::Alone | Company::Transaction => Ok(()),
            Company::Others => f.write_str(", or another one that was sent along with it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_known() {
        let sha = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let request = [b"*3\r\n$7\r\nEVALSHA\r\n$40\r\n".as_slice(), sha, b"\r\n$1\r\n0\r\n"].concat();
        assert_eq!(Script::of(&request), Some(Script::Sha1(sha)));
        assert_eq!(Script::of(b"evalsha_ro abc 0\r\n"), Some(Script::Sha1(b"abc")));
        assert_eq!(Script::of(b"eval_ro x 0\r\n"), Some(Script::Text(b"x")));
        assert_eq!(Script::of(b"FCALL f 0\r\n"), Some(Script::Function(b"f")));
        assert_eq!(Script::of(b"script load x\r\n"), Some(Script::Loaded(b"x")));
        assert_eq!(Script::of(b"Fcall_RO f 0\r\n"), Some(Script::Function(b"f")));
        assert_eq!(Script::of(b"EVAL\r\n"), None);
        assert_eq!(Script::of(b"SCRIPT LOAD\r\n"), None);
        assert_eq!(Script::of(b"SCRIPT FLUSH\r\n"), None);
    }

    #[test]
    fn a_glance_tells_most_commands_apart() {
        assert!(["eval", "EVALSHA", "fcall_ro"].iter().all(|name| Script::may_be_run_by(name.as_bytes())));
        assert!(!["GET", "EXEC", "FLUSHALL"].iter().any(|name| Script::may_be_run_by(name.as_bytes())));
    }

    #[test]
    fn what_is_suspected_is_of_the_kind_that_runs_and_has_run_for_the_threshold() {
        let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
        let sent = |script| Sent::new(script, at(100), Company::Alone).expect("it runs");
        let (text, function) = (sent(Script::Text(b"x")), sent(Script::Function(b"f")));
        for (sent, cause, other) in
            [(&text, Cause::Script, Cause::Function), (&function, Cause::Function, Cause::Script)]
        {
            let suspect = |cause, now| sent.is_suspect(cause, Duration::from_millis(50), at(now));
            assert!(sent.is_of(cause) && !sent.is_of(other));
            assert!(suspect(cause, 150) && !suspect(cause, 149) && !suspect(other, 150));
        }
    }

    #[test]
    fn a_script_is_called_as_its_server_calls_it() {
        let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let told = |script, company| {
            let sent = Sent::new(script, Time::ZERO, company).expect("it runs");
            (sent.name(), sent.to_string())
        };
        assert_eq!(told(Script::Text(b"return 1"), Company::Alone), (sha.into(), sha.into()));
        let upper = sha.to_ascii_uppercase();
        assert_eq!(told(Script::Sha1(upper.as_bytes()), Company::Transaction), (sha.into(), sha.into()));
        let (name, text) = told(Script::Function(b"f"), Company::Others);
        assert_eq!(name, "f");
        assert_eq!(text, "function \"f\", or another one that was sent along with it");
        assert_eq!(Sent::new(Script::Loaded(b"x"), Time::ZERO, Company::Alone), None);
    }
}
