//! What a session has to say after it was given bytes.

use std::ops::Range;

use crate::{Cause, Event, Script, Time};

/// A piece of what goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A range of the bytes that the session was given.
    Read(Range<usize>),
    /// A range of [`Out::own`].
    Own(Range<usize>),
}

/// A script of which a command was answered.
#[derive(Debug)]
struct Noted {
    /// Without its bytes.
    script: Script<'static>,
    bytes: Range<usize>,
    sent: Time,
}

/// Scripts with a longer text are not told of.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A command that waited in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Its name in capitals, and nothing of its arguments; what could upset a terminal is escaped.
    pub command: String,
    /// Since when it waited, if it did itself.
    pub since: Option<Time>,
}

/// Filled by the session, read by the shell, and used again: in steady state it allocates nothing.
#[derive(Debug, Default)]
pub struct Out {
    pieces: Vec<Piece>,
    own: Vec<u8>,
    scripts: Vec<Noted>,
    script_bytes: Vec<u8>,
    /// The sending of the latest command that was executed though a busy server would have rejected it.
    pub proof: Option<Time>,
    /// The first rejection: why, and when the command was sent.
    pub rejection: Option<(Cause, Time)>,
    /// How many commands were rejected.
    pub rejected: u64,
    /// A script was answered.
    pub script_answered: bool,
    /// Commands whose budget is over, and the first of them.
    pub given_up: u64,
    /// See above.
    pub first_given_up: Option<GivenUp>,
    /// What to report.
    pub events: Vec<Event>,
}

impl Out {
    /// Makes it ready for the next call.
    pub fn clear(&mut self) {
        /// More is kept only while it is used.
        const OWN_BYTES_MAX: usize = 64 * 1024;
        self.pieces.clear();
        self.own.clear();
        self.own.shrink_to(OWN_BYTES_MAX);
        if !self.scripts.is_empty() {
            self.scripts.clear();
            self.script_bytes.clear();
            self.script_bytes.shrink_to(TEXT_BYTES_MAX);
        }
        self.proof = None;
        self.rejection = None;
        self.rejected = 0;
        self.script_answered = false;
        self.given_up = 0;
        self.first_given_up = None;
        self.events.clear();
    }

    /// What goes to the client, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The scripts and functions that were answered, each with when it was sent (of a transaction its first one, with when
    /// `EXEC` was); and the texts that were loaded. None whose text is longer than 64 KiB.
    pub fn scripts(&self) -> impl Iterator<Item = (Script<'_>, Time)> {
        let bytes = |noted: &Noted| &self.script_bytes[noted.bytes.clone()];
        self.scripts.iter().map(move |noted| (noted.script.with(bytes(noted)), noted.sent))
    }

    pub(super) fn note_script(&mut self, command: &[u8], sent: Time) {
        let Some(script) = Script::of(command) else { return };
        let bytes = script.bytes();
        if bytes.len() <= TEXT_BYTES_MAX {
            let start = self.script_bytes.len();
            self.script_bytes.extend_from_slice(bytes);
            self.scripts.push(Noted {
                script: script.with(&[]),
                bytes: start..self.script_bytes.len(),
                sent,
            });
        }
    }

    /// The bytes that [`Piece::Own`] points into.
    pub fn own(&self) -> &[u8] {
        &self.own
    }

    /// All that goes to the client, copied together; `read` is what the session was given.
    pub fn to_client(&self, read: &[u8]) -> Vec<u8> {
        let bytes = self.pieces.iter().map(|piece| match piece {
            Piece::Read(range) => &read[range.clone()],
            Piece::Own(range) => &self.own[range.clone()],
        });
        bytes.collect::<Vec<_>>().concat()
    }

    pub(super) fn rejected(&mut self, cause: Cause, sent: Time) {
        self.rejection.get_or_insert((cause, sent));
        self.rejected += 1;
    }

    pub(super) fn forward(&mut self, range: Range<usize>) {
        if let Some(Piece::Read(last)) = self.pieces.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
        } else if !range.is_empty() {
            self.pieces.push(Piece::Read(range));
        }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        if let Some(Piece::Own(last)) = self.pieces.last_mut() {
            last.end = self.own.len();
        } else {
            self.pieces.push(Piece::Own(start..self.own.len()));
        }
    }
}
