//! What can be seen of a server, from wherever it is looked at.
//!
//! Moments are milliseconds since 1970, by the clock of whoever tells.

use std::time::Duration;

use crate::endpoint::Counters;

/// What a source tells.
#[derive(Debug)]
pub(super) enum News {
    Sight(Box<Sight>),
    /// These are over, the oldest first. They may have been told before.
    Episodes(Vec<Episode>),
    /// What all scripts have cost so far, the dearest first, at this moment of the teller's clock.
    Scripts(Vec<Cost>, u64),
    /// Whether clients can be served, as a proxy tries it; the reason if not.
    Unready(Option<String>),
    /// The source cannot be reached.
    Lost(String),
}

/// A server at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) now_ms: u64,
    /// Another start is another process, whose counters began anew.
    pub(super) start: Option<String>,
    /// The server behind a proxy.
    pub(super) behind: Option<String>,
    pub(super) doing: Doing,
    /// For how long so far; zero if nobody knows.
    pub(super) lasted: Duration,
    /// After which a script makes it busy, if that is known.
    pub(super) threshold: Option<Duration>,
    pub(super) waiting: Waiting,
    pub(super) totals: Totals,
}

/// What a server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    Open,
    Stalled,
    Busy(Culprit),
    Unreachable(String),
    Refused(String),
}

/// What keeps a server busy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Culprit {
    /// `script`, `function`, `module` or `loading`.
    pub(super) cause: String,
    /// The script's SHA-1, or the function.
    pub(super) script: Option<String>,
    pub(super) client: Option<String>,
}

/// What its clients feel.
#[derive(Debug, Clone)]
pub(super) enum Waiting {
    /// Those of a proxy.
    Clients { all: u64, connections: u64, commands: u64, longest: Duration },
    /// Nobody knows of any; but a command that came now would have waited so long already.
    Anyone(Duration),
}

#[derive(Debug, Clone)]
pub(super) enum Totals {
    Proxy {
        started_ms: u64,
        draining: bool,
        counters: Counters,
    },
    /// What `INFO` told last, if it may be asked.
    Server(Option<Rejections>),
}

/// Commands that a server rejected since its statistics began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rejections {
    pub(super) busy: u64,
    /// By the command, the most first; for any reason.
    pub(super) by_command: Vec<(String, u64)>,
}

/// A time in which the server answered BUSY, and that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    /// Counts from 1 since the start of whoever tells.
    pub(super) number: u64,
    pub(super) began_ms: u64,
    pub(super) lasted: Duration,
    pub(super) culprit: Culprit,
    /// Connections that waited, and commands that were given up, if anybody knows.
    pub(super) waited: Option<(u64, u64)>,
}

/// What a script has cost since the start of whoever tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cost {
    /// The SHA-1 of its text, or the function; or the command, where nobody knows more.
    pub(super) name: String,
    pub(super) runs: u64,
    /// How long it kept the server from everybody else.
    pub(super) blocked: Duration,
    pub(super) longest: Option<Duration>,
}

impl Sight {
    /// What the chart shows of this moment: connections that wait, or milliseconds that anyone would have waited.
    pub(super) fn pulse(&self) -> u64 {
        match &self.waiting {
            Waiting::Clients { connections, .. } => *connections,
            Waiting::Anyone(wait) => wait.as_millis() as u64,
        }
    }

    /// Whether time has to be added to what goes on.
    pub(super) const fn goes_on(&self) -> bool {
        matches!(self.doing, Doing::Stalled | Doing::Busy(_) | Doing::Unreachable(_))
    }
}
