//! What a user who drives the connection without a worker asks of it. See `direct.rs`.

use std::io;

use unbusy_core::Time;

use super::{Pair, Place};
use crate::direct::Socket;
use crate::stream::Stream;
use crate::timer::Timer;

impl Pair {
    /// When it is to be driven again although nothing happened; only if its user drives it.
    pub(crate) const fn wake_time(&self) -> Option<Time> {
        match self.timer {
            Some(Timer::Caller(moment)) => Some(moment),
            _ => None,
        }
    }

    /// Whether nothing but the server's socket will have news for it.
    pub(crate) fn waits_for_server_only(&self) -> bool {
        self.place == Place::Away && self.timer.is_none() && !self.session.has_unsent()
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.session.is_subscribed()
    }

    /// Whether all that was read of the client is on its way.
    pub(crate) fn has_settled(&self) -> bool {
        let waits = matches!(self.place, Place::Waiting(_));
        !waits && self.session.outgoing().is_empty() && !self.session.has_unsent()
    }

    /// The client gets these bytes first. Then somebody else drives it.
    pub(crate) fn hand_over(&mut self, received: Vec<u8>) {
        self.backlog = received;
        self.timer = None;
    }

    /// From now on a worker's runtime drives it, for this client.
    pub(crate) fn adopt(&mut self, client: Stream) -> io::Result<()> {
        let server = std::mem::replace(&mut self.server, Stream::Memory(Box::default()));
        self.server = Socket::out_of(server)?.into_stream()?;
        self.client = client;
        Ok(())
    }

    /// Closes the server's descriptor, and does nothing else.
    pub(crate) fn forget(mut self) {
        drop(std::mem::replace(&mut self.server, Stream::Memory(Box::default())));
        std::mem::forget(self);
    }
}
