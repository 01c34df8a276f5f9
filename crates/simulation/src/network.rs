//! The network between the proxy and everybody else: it delays and cuts, and loses packets that it then finds again.

use std::collections::VecDeque;
use std::time::Duration;

use unbusy_core::Time;

use crate::{MS, Rng};

/// When a lost packet is sent again: Linux waits for 200 ms at least.
const RETRANSMISSION_MAX: Duration = Duration::from_millis(300);

/// How bytes come in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuts {
    /// Half of the time.
    Some,
    /// One, two or three bytes at a time.
    Bytes,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) rng: Rng,
    pub(crate) delay: (Duration, Duration),
    pub(crate) cuts: Cuts,
    /// For how long a full socket takes nothing, at most.
    pub(crate) full: Duration,
    /// Some replies come late, as if a packet was lost or the shell did not run.
    pub(crate) loses_replies: bool,
}

impl Network {
    /// For how long a socket is full that takes nothing now.
    pub(crate) fn clog(&mut self, between_commands: bool) -> Duration {
        let most = if between_commands { self.full } else { MS };
        self.rng.span((MS / 100, most))
    }

    /// How much of what is there is read at once.
    pub(crate) const fn cut(&mut self, all: usize) -> usize {
        match self.cuts {
            Cuts::Some if self.rng.one_in(2) => all,
            Cuts::Some => 1 + self.rng.index(all),
            Cuts::Bytes => {
                let few = 1 + self.rng.index(3);
                if few < all { few } else { all }
            }
        }
    }
}

/// Bytes on their way; in order, whatever their delays.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// A piece without bytes is the end.
    flying: VecDeque<(Time, Vec<u8>)>,
    latest: Time,
    closed: bool,
}

impl Pipe {
    /// Cuts the bytes into pieces of at least this length, which arrive one after the other.
    pub(crate) fn push(&mut self, bytes: &[u8], least: usize, now: Time, network: &mut Network) {
        if self.closed {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len();
            let length = if network.rng.one_in(2) { most } else { least + network.rng.index(most.min(3000)) };
            let (piece, others) = rest.split_at(length.min(most));
            self.fly(piece.to_vec(), now, network);
            rest = others;
        }
    }

    fn fly(&mut self, piece: Vec<u8>, now: Time, network: &mut Network) {
        self.latest = self.latest.max(now + network.rng.span(network.delay));
        self.flying.push_back((self.latest, piece));
    }

    /// What comes next is late.
    pub(crate) fn lose(&mut self, now: Time, network: &mut Network) {
        self.latest = self.latest.max(now + network.rng.span((MS, RETRANSMISSION_MAX)));
    }

    /// Nothing comes behind what is on its way.
    pub(crate) fn close(&mut self, now: Time, network: &mut Network) {
        if !self.closed {
            self.fly(Vec::new(), now, network);
            self.closed = true;
        }
    }

    /// The sender has died: of what is on its way a part arrives.
    pub(crate) fn tear(&mut self, now: Time, network: &mut Network) {
        if network.rng.one_in(2)
            && let Some((_, last)) = self.flying.back_mut()
            && !last.is_empty()
        {
            last.truncate(1 + network.rng.index(last.len()));
        }
        self.close(now, network);
    }

    pub(crate) fn next(&self) -> Time {
        self.flying.front().map_or(Time::NEVER, |(at, _)| *at)
    }

    pub(crate) fn pop(&mut self, now: Time) -> Option<Vec<u8>> {
        self.flying.front().filter(|(at, _)| *at <= now)?;
        self.flying.pop_front().map(|(_, bytes)| bytes)
    }
}
