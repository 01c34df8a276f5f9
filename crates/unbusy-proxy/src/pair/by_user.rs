//! What a user who drives the connection without a worker asks of it. See `direct.rs`.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use unbusy_core::Time;

use super::{Pair, Place};
use crate::direct::Socket;
use crate::shared::Stage;
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

    /// Whether its turn at the gate is far away. Others rely there on those who wait, who must come when they are called.
    pub(crate) fn waits_for_long(&self) -> bool {
        matches!(self.place, Place::Waiting(_)) && (self.session.waits() || self.shared.episode().is_some())
    }

    /// Whether the client has sent something that goes on its way without an answer of the server.
    pub(crate) fn waits_to_send(&self) -> bool {
        self.session.is_idle() && self.session.has_unsent()
    }

    /// Whether all is answered.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_answered = self.session.is_quiet() && self.session.is_idle() && !self.session.is_tunnel();
        let is_alone = self.place == Place::Away && self.shared.stage() == Stage::Running;
        is_answered && is_alone && !self.client_closed
    }

    /// Whether a client's socket has something to read, or its end.
    pub(crate) fn client_has_more(&self) -> bool {
        let Stream::Unix(client) = &self.client else { return false };
        let mut fds = [PollFd::new(client, PollFlags::IN)];
        // What cannot be known is found out by reading.
        poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }

    /// Whether the client has taken all that it was given.
    pub(crate) const fn has_delivered(&self) -> bool {
        self.backlog.is_empty()
    }

    /// The client gets these bytes first. Then somebody else drives it.
    pub(crate) fn hand_over(&mut self, mut received: Vec<u8>) {
        received.append(&mut self.backlog.take_all());
        self.backlog.put(&received);
        self.timer = None;
    }

    /// From now on a worker's runtime drives it, for this client.
    pub(crate) fn adopt(&mut self, client: Stream) -> io::Result<()> {
        let server = std::mem::replace(&mut self.server, Stream::Memory(Box::default()));
        self.server = Socket::out_of(server)?.into_stream()?;
        self.client = client;
        Ok(())
    }

    /// What [`Self::adopt`] did is undone. Gives the client's socket, in which there may be something to read.
    pub(crate) fn give_back(&mut self) -> io::Result<UnixStream> {
        let server = std::mem::replace(&mut self.server, Stream::Memory(Box::default()));
        self.server = Stream::Direct(Socket::out_of(server)?);
        match std::mem::replace(&mut self.client, Stream::Memory(Box::default())) {
            Stream::Unix(client) => client.into_std(),
            _ => unreachable!("it was adopted with a socket"),
        }
    }

    /// Closes the server's descriptor, and does nothing else.
    pub(crate) fn forget(mut self) {
        drop(std::mem::replace(&mut self.server, Stream::Memory(Box::default())));
        std::mem::forget(self);
    }
}
