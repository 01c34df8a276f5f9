//! All that happens in a world: a hash of it always, and the lines of it where somebody wants to read them.

use std::fmt;
use std::hash::{Hash, Hasher};

use unbusy_core::{Event, Time};

use crate::server::{Executed, What};
use crate::world::START;

/// Bytes of a message that are shown.
const SHOWN: usize = 100;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Connects(usize),
    Sends(usize, &'a [u8]),
    /// How a client leaves.
    Leaves(usize, &'static str),
    ToServer(usize, &'a [u8]),
    Executed(&'a Executed),
    Rejected(usize, &'a str),
    FromServer(usize, &'a [u8]),
    ToClient(usize, &'a [u8]),
    Woken(usize),
    GivenUp(usize, u64),
    Told(usize, &'a Event),
    /// What the world does to the server.
    Fate(&'a str),
    Ends(usize, &'static str),
    Fault(&'a str),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connects(client) => write!(f, "client {client} connects"),
            Self::Sends(client, bytes) => write!(f, "client {client} → proxy: {}", Shown(bytes)),
            Self::Leaves(client, how) => write!(f, "client {client} {how}"),
            Self::ToServer(client, bytes) => write!(f, "       {client} proxy → server: {}", Shown(bytes)),
            Self::Executed(Executed { conn, what: What::Closed, .. }) => {
                write!(f, "    server: connection {conn} is closed")
            }
            Self::Executed(Executed { conn, db, words, what, .. }) => {
                let words = words.join(" ");
                write!(
                    f,
                    "    server: connection {conn}, database {db}: {what:?} {}",
                    Shown(words.as_bytes())
                )
            }
            Self::Rejected(conn, name) => write!(f, "    server: connection {conn}: rejected {name}"),
            Self::FromServer(client, bytes) => write!(f, "       {client} server → proxy: {}", Shown(bytes)),
            Self::ToClient(client, bytes) => write!(f, "client {client} ← proxy: {}", Shown(bytes)),
            Self::Woken(client) => write!(f, "      gate lets {client} go"),
            Self::GivenUp(client, commands) => write!(f, "       {client} gives up {commands}"),
            Self::Told(shell, event) => write!(f, "proxy {shell}: {event:?}"),
            Self::Fate(text) => write!(f, "=== {text}"),
            Self::Ends(client, why) => write!(f, "       {client} ends: {why}"),
            Self::Fault(text) => write!(f, "!!! {text}"),
        }
    }
}

/// Bytes in a line, not too many.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        if bytes.len() <= SHOWN {
            return write!(f, "{}", bytes.escape_ascii());
        }
        write!(f, "{}… ({} bytes)", bytes[..SHOWN].escape_ascii(), bytes.len())
    }
}

impl Hash for Step<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Connects(at) | Self::Woken(at) => at.hash(state),
            Self::Sends(at, bytes)
            | Self::ToServer(at, bytes)
            | Self::FromServer(at, bytes)
            | Self::ToClient(at, bytes) => (at, bytes).hash(state),
            Self::Leaves(at, text) | Self::Ends(at, text) => (at, text).hash(state),
            Self::Rejected(at, name) => (at, name).hash(state),
            Self::Executed(Executed { at: _, conn, db, words, what, batch }) => {
                (conn, db, words, what, batch).hash(state);
            }
            Self::GivenUp(at, commands) => (at, commands).hash(state),
            Self::Told(at, event) => (at, format!("{event:?}")).hash(state),
            Self::Fate(text) | Self::Fault(text) => text.hash(state),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: Fnv,
    /// `None`: nobody reads them.
    pub(crate) lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn note(&mut self, now: Time, step: &Step<'_>) {
        (now.as_nanos(), step).hash(&mut self.hasher);
        if let Some(lines) = &mut self.lines {
            let at = (now - START).as_nanos();
            lines.push(format!("{:>6}.{:06} ms  {step}", at / 1_000_000, at % 1_000_000));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

/// Like FNV-1a, but eight bytes at a time where it can: the same everywhere.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    }
}
