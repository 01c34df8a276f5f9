//! A connection of this process that an event loop drives: none of its calls waits.
//!
//! The loop drives it itself for as long as all that it waits for is the server's answer, or a moment at the gate. A loop may be
//! busy with other things when it is called, so whatever is about time is a worker's part: a place at the gate, where others rely
//! on those who wait; a budget; a server that takes nothing. He is lent the connection, with a socket that leads there, until all
//! is answered. Everything that goes either way meanwhile is in that socket, so nothing is overtaken when he gives it back.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Waker};

use rustix::event::PollFlags;
use tokio::sync::mpsc::UnboundedSender;

use super::loan::{Desk, Loan, Returned};
use super::memory::KEPT_BYTES;
use super::{Direct, Ender, proxy_has_ended};
use crate::buffer::Buffer;
use crate::shared::Shared;
use crate::worker::Order;

/// What is received at once, about; then the loop has other things to do as well. It is what Python's asyncio reads at once.
const READ_BYTES: usize = 256 * 1024;

/// A connection to the server that an event loop drives. It is made of a [`Direct`].
///
/// After each call, [`Polled::watch`] tells for what to call it again. While the loop does other things it is not driven: what it has
/// sent is answered, but others may take the server for silent until the answer is read, and ask themselves.
pub struct Polled {
    hands: Hands,
    /// A socket that is done with, but that the loop watches until it has asked what to watch in its place.
    left: Option<UnixStream>,
}

/// Who drives it.
enum Hands {
    Loop(Box<Direct>),
    Worker(Box<Lent>),
    /// It was lost, since the proxy has ended.
    Nobody,
}

struct Lent {
    socket: UnixStream,
    desk: Arc<Desk>,
    /// What the socket has not taken.
    unsent: Buffer<KEPT_BYTES>,
    /// What it had meanwhile.
    received: Buffer<KEPT_BYTES>,
    server: Ender,
    shared: Arc<Shared>,
    worker: UnboundedSender<Order>,
}

/// For what an event loop calls a connection again.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// When this can be read: [`Polled::receive`], or [`Polled::turn`] if nothing is to be received now.
    pub socket: BorrowedFd<'a>,
    /// When it can be written: [`Polled::turn`].
    pub writes: bool,
    /// Bytes that wait to be sent. Replies are to be read for them, too.
    pub unsent: usize,
    /// It is not its turn: [`Polled::turn`] when another one of the loop has received something, and [`Polled::lend`] if it lasts.
    pub waits: bool,
    /// There is something to receive of which the socket says nothing.
    pub has_more: bool,
}

impl std::fmt::Debug for Polled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_lent = matches!(self.hands, Hands::Worker(_));
        f.debug_struct("Polled").field("is_lent", &is_lent).finish_non_exhaustive()
    }
}

impl From<Direct> for Polled {
    fn from(direct: Direct) -> Self {
        Self { hands: Hands::Loop(Box::new(direct)), left: None }
    }
}

impl Polled {
    /// Sends this, now or when it may be sent.
    ///
    /// # Errors
    /// When it has ended, and when the system has no more sockets.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = None;
        match &mut self.hands {
            Hands::Loop(direct) => {
                if let Some(end) = direct.end {
                    return Err(end.error());
                }
                direct.memory().sent_by_user(bytes);
            }
            Hands::Worker(lent) => lent.unsent.put(bytes),
            Hands::Nobody => {}
        }
        self.drive()
    }

    /// Gives what has come to `take`; nothing if the connection has ended.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come, and what the socket says.
    pub fn receive<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.left = None;
        if let Hands::Worker(lent) = &mut self.hands
            && lent.received.is_empty()
            && lent.read()? == 0
            && !self.take_back()?
        {
            return Ok(take(&[]));
        }
        if let Hands::Worker(lent) = &mut self.hands
            && !lent.received.is_empty()
        {
            let result = take(lent.received.rest());
            lent.received.take(usize::MAX);
            return Ok(result);
        }
        if !self.has_more() {
            self.read_and_drive()?;
        }
        let Hands::Loop(direct) = &mut self.hands else { return Err(io::ErrorKind::WouldBlock.into()) };
        match (direct.buffered(), direct.end) {
            ([], None) => return Err(io::ErrorKind::WouldBlock.into()),
            ([], Some(end @ super::Ended::Broken(..))) => return Err(end.error()),
            _ => {}
        }
        let result = take(direct.buffered());
        direct.consume(usize::MAX);
        if !direct.pair.has_delivered() {
            self.drive()?;
        }
        Ok(result)
    }

    /// Does what can be done now.
    ///
    /// # Errors
    /// When the system has no more sockets.
    pub fn turn(&mut self) -> io::Result<()> {
        self.left = None;
        self.read_and_drive()
    }

    /// Whether all that was sent is on its way, all that has come was received, and nothing but the socket is to be watched.
    pub fn is_calm(&self) -> bool {
        match &self.hands {
            Hands::Loop(direct) => direct.has_sent() && !self.has_more(),
            Hands::Worker(_) | Hands::Nobody => false,
        }
    }

    /// For what it is to be called again.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub fn watch(&self) -> io::Result<Watch<'_>> {
        match &self.hands {
            Hands::Loop(direct) => Ok(Watch {
                socket: direct.server_fd(),
                writes: false,
                unsent: if direct.end.is_none() { direct.client().unread() } else { 0 },
                waits: direct.end.is_none() && direct.pair.waits_to_send(),
                has_more: self.has_more(),
            }),
            Hands::Worker(lent) => {
                let unsent = lent.unsent.len();
                let socket = lent.socket.as_fd();
                Ok(Watch { socket, writes: unsent > 0, unsent, waits: false, has_more: self.has_more() })
            }
            Hands::Nobody => Err(proxy_has_ended()),
        }
    }

    /// The server's socket, to be asked about.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub fn server_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.hands {
            Hands::Loop(direct) => Ok(direct.server_fd()),
            Hands::Worker(lent) => Ok(lent.server.as_fd()),
            Hands::Nobody => Err(proxy_has_ended()),
        }
    }

    /// Lends it to a worker, until all is answered.
    ///
    /// # Errors
    /// When the system has no more sockets, or the proxy has ended.
    pub fn lend(&mut self) -> io::Result<()> {
        let Hands::Loop(direct) = &mut self.hands else { return Ok(()) };
        if direct.end.is_some() {
            return Ok(());
        }
        let (outer, inner) = UnixStream::pair()?;
        outer.set_nonblocking(true)?;
        inner.set_nonblocking(true)?;
        let (unread, received) = direct.memory().take_all();
        direct.pair.hand_over(received);
        let server = direct.ender();
        let Hands::Loop(direct) = std::mem::replace(&mut self.hands, Hands::Nobody) else { return Ok(()) };
        let Direct { pair, seat, shared, worker, .. } = *direct;
        let (loan, desk) = Loan::of(seat);
        worker.send(Order::Borrow(Box::new(pair), inner, loan)).map_err(|_| proxy_has_ended())?;
        let mut unsent = Buffer::default();
        unsent.put(&unread);
        let (socket, received) = (outer, Buffer::default());
        self.hands = Hands::Worker(Box::new(Lent { socket, desk, unsent, received, server, shared, worker }));
        self.drive()
    }

    /// Leaves everything as it is but for the descriptors of its sockets, which are closed: see [`Direct::forget`].
    pub fn forget(mut self) {
        match std::mem::replace(&mut self.hands, Hands::Nobody) {
            Hands::Loop(direct) => direct.forget(),
            Hands::Worker(lent) => {
                let Lent { desk, .. } = *lent;
                // It may be back, with all that belongs to it.
                std::mem::forget(desk);
            }
            Hands::Nobody => {}
        }
    }

    fn has_more(&self) -> bool {
        match &self.hands {
            Hands::Loop(direct) => {
                !direct.buffered().is_empty() || direct.end.is_some() || !direct.pair.has_delivered()
            }
            Hands::Worker(lent) => !lent.received.is_empty(),
            Hands::Nobody => false,
        }
    }

    /// The socket may have something to read.
    fn read_and_drive(&mut self) -> io::Result<()> {
        if let Hands::Loop(direct) = &mut self.hands {
            direct.socket_mut().is_ready(PollFlags::IN);
        }
        self.drive()
    }

    fn drive(&mut self) -> io::Result<()> {
        let direct = match &mut self.hands {
            Hands::Loop(direct) => direct,
            Hands::Worker(lent) => {
                lent.send()?;
                return self.take_back().map(drop);
            }
            Hands::Nobody => return Err(proxy_has_ended()),
        };
        let limit = direct.has_sent().then_some(READ_BYTES);
        direct.memory().set_limit(limit);
        direct.drive(&mut Context::from_waker(Waker::noop()));
        if direct.end.is_none() && (direct.pair.waits_for_long() || direct.socket().is_full()) {
            return self.lend();
        }
        direct.pair.step_back();
        Ok(())
    }

    /// If the worker has given it back. Whether he has.
    fn take_back(&mut self) -> io::Result<bool> {
        let Hands::Worker(lent) = &self.hands else { return Ok(false) };
        let Some(returned) = lent.desk.take() else { return Ok(false) };
        self.go_on(*returned)?;
        Ok(true)
    }

    fn go_on(&mut self, returned: Returned) -> io::Result<()> {
        let Hands::Worker(lent) = std::mem::replace(&mut self.hands, Hands::Nobody) else { return Ok(()) };
        let Returned { pair, client, seat } = returned;
        let mut direct = Direct::of(*pair, seat, lent.shared, lent.worker);
        direct.memory().put_received(lent.received.rest());
        direct.memory().put_received(&all_of(&lent.socket)?);
        direct.memory().sent_by_user(&all_of(&client)?);
        direct.memory().sent_by_user(lent.unsent.rest());
        self.left = Some(lent.socket);
        self.hands = Hands::Loop(Box::new(direct));
        self.drive()
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        let Hands::Loop(direct) = &mut self.hands else { return };
        if direct.end.is_none() && !direct.pair.is_at_rest() {
            // What is not answered is a worker's part, to whom a client closes: the gate may wait for the answer. Else it is dropped.
            drop(direct.memory().take_all());
            let _ = self.lend();
        }
    }
}

impl Lent {
    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match (&self.socket).write(self.unsent.rest()) {
                Ok(count) => self.unsent.take(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.read_ahead(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Who sends a pipeline need read no reply before all of it is sent.
    fn read_ahead(&mut self) -> io::Result<()> {
        loop {
            match self.read() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut bytes = vec![0; READ_BYTES];
        let count = (&self.socket).read(&mut bytes)?;
        self.received.put(&bytes[..count]);
        Ok(count)
    }
}

/// All that can be read of it now.
fn all_of(mut socket: &UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(bytes),
    }
}
