//! A connection of this process that its user drives itself, on the thread that waits for the answer.
//!
//! The way over a worker and a socket costs two changes of threads per command, which is more than all else that unbusy
//! does. Here the user's own calls do the worker's part: they read and write the server's socket, with the engine in
//! between. Between the calls nothing happens, so a call that sends returns only when all is on its way.

mod bell;
mod loan;
mod memory;
mod polled;
mod socket;

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bell::Bell;
pub(crate) use loan::Loan;
pub(crate) use memory::Memory;
pub use polled::{Polled, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use socket::Ender;
pub(crate) use socket::Socket;
use tokio::sync::mpsc::UnboundedSender;
use unbusy_core::Time;

use crate::pair::{End, Pair};
use crate::serve::Seat;
use crate::shared::{Shared, Stage};
use crate::stream::Stream;
use crate::sync;
use crate::worker::Order;

/// A signal that comes while the thread is awake does not end the sleep that follows. After so long a sleep its user looks for it.
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(50);

/// A connection to the server that its user drives: commands wait within its calls. See
/// [`Proxy::connect_direct`](crate::Proxy::connect_direct).
///
/// Between the calls nothing is read. So while its user does not fetch the answer to a script, others that wait for a busy server
/// cannot be told of its end at once; they ask the server once a second.
pub struct Direct {
    pair: Pair,
    seat: Seat,
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    /// Takes it over if it is to become a socket.
    worker: UnboundedSender<Order>,
    end: Option<Ended>,
    /// Nothing was sent, and nothing was waited for, since it was driven.
    is_driven: bool,
    /// Its user wants to look for signals.
    looks: bool,
    /// He was asked to, and called again at once.
    has_looked: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    /// By the server, or by what was told to the client.
    Closed,
    Broken(io::ErrorKind, Option<i32>),
}

impl Ended {
    fn of(error: &io::Error) -> Self {
        Self::Broken(error.kind(), error.raw_os_error())
    }

    fn error(self) -> io::Error {
        match self {
            Self::Closed => io::ErrorKind::BrokenPipe.into(),
            Self::Broken(kind, None) => kind.into(),
            Self::Broken(_, Some(number)) => io::Error::from_raw_os_error(number),
        }
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").field("end", &self.end).finish_non_exhaustive()
    }
}

impl Direct {
    /// On a server's socket that no runtime knows of.
    pub(crate) fn new(
        server: Socket,
        shared: Arc<Shared>,
        worker: usize,
        orders: UnboundedSender<Order>,
        seat: Seat,
    ) -> Self {
        let (client, server) = (Stream::Memory(Box::default()), Stream::Direct(server));
        let pair = Pair::new(Arc::clone(&shared), worker, client, server);
        Self::of(pair, seat, shared, orders)
    }

    fn of(pair: Pair, seat: Seat, shared: Arc<Shared>, worker: UnboundedSender<Order>) -> Self {
        Self {
            pair,
            seat,
            shared,
            bell: Arc::default(),
            worker,
            end: None,
            is_driven: false,
            looks: false,
            has_looked: false,
        }
    }

    /// Sends all of this, as far as the server takes it within the time; [`Direct::settle`] sends the rest.
    ///
    /// # Errors
    /// `WouldBlock` when the time is over, `Interrupted` after a signal, and what the socket says. After `Interrupted` something else is
    /// called at once, or [`Direct::step_back`] is.
    pub fn send(&mut self, bytes: &[u8], until: Option<Instant>) -> io::Result<()> {
        self.memory().sent_by_user(bytes);
        self.is_driven = false;
        self.settle(until)
    }

    /// Waits until all that was sent is on its way to the server. What the server answers meanwhile is kept.
    ///
    /// # Errors
    /// As [`Direct::send`].
    pub fn settle(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.wait(until, |direct| direct.has_sent())?;
        self.end.map_or(Ok(()), |end| Err(end.error()))
    }

    /// Waits for bytes of the server; there are none if the connection has ended. They stay there until [`Direct::consume`] takes them.
    ///
    /// # Errors
    /// As [`Direct::send`].
    pub fn fill(&mut self, until: Option<Instant>) -> io::Result<&[u8]> {
        if self.buffered().is_empty() {
            self.wait(until, |direct| !direct.buffered().is_empty())?;
        }
        match self.end {
            Some(end @ Ended::Broken(..)) if self.buffered().is_empty() => Err(end.error()),
            _ => Ok(self.buffered()),
        }
    }

    /// The bytes of the server that are there already.
    pub fn buffered(&self) -> &[u8] {
        self.client().received()
    }

    /// So many of the bytes that are there are taken, or all of them.
    pub fn consume(&mut self, count: usize) {
        self.memory().taken_by_user(count);
    }

    /// Whether it is subscribed to anything, or is about to be, so that the next bytes may come whenever they like, and it must be
    /// subscribed again soon if that was rejected.
    pub fn is_subscribed(&self) -> bool {
        self.pair.is_subscribed()
    }

    /// Whether there are bytes of the server, or its end, or a closed connection, to be met without waiting.
    pub fn is_readable(&self) -> bool {
        if !self.buffered().is_empty() || self.end.is_some() {
            return true;
        }
        let mut fds = [PollFd::new(self.socket(), PollFlags::IN)];
        // What cannot be known is found out by reading.
        poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }

    /// The server's socket, to be asked whether there is something to read. Only to be asked.
    pub fn server_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }

    /// Ends it while it is used.
    pub fn ender(&self) -> Ender {
        self.socket().ender()
    }

    /// Lets a worker drive it from now on; its user gets a socket that leads there. What was received and not taken comes out
    /// of that first.
    ///
    /// # Errors
    /// When the system has no more sockets, or the proxy has ended.
    pub fn into_socket(mut self) -> io::Result<UnixStream> {
        let (outer, inner) = UnixStream::pair()?;
        inner.set_nonblocking(true)?;
        let (unsent, received) = self.memory().take_all();
        self.pair.hand_over(received);
        let order = Order::Adopt(Box::new(self.pair), inner, self.seat);
        self.worker.send(order).map_err(|_| proxy_has_ended())?;
        io::Write::write_all(&mut &outer, &unsent)?;
        Ok(outer)
    }

    /// Leaves everything as it is but for the descriptor of the socket, which is closed: for a process that was forked, in
    /// which other threads' locks may be held for ever.
    pub fn forget(self) {
        let Self { pair, .. } = self;
        pair.forget();
    }

    /// Whether all that was sent is on its way to the server.
    fn has_sent(&self) -> bool {
        self.client().is_read() && self.pair.has_settled()
    }

    fn client(&self) -> &Memory {
        match &self.pair.client {
            Stream::Memory(memory) => memory,
            _ => unreachable!("the client of a direct connection is this memory"),
        }
    }

    fn memory(&mut self) -> &mut Memory {
        match &mut self.pair.client {
            Stream::Memory(memory) => memory,
            _ => unreachable!("the client of a direct connection is this memory"),
        }
    }

    fn socket(&self) -> &Socket {
        match &self.pair.server {
            Stream::Direct(socket) => socket,
            _ => unreachable!("the server of a direct connection is this socket"),
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match &mut self.pair.server {
            Stream::Direct(socket) => socket,
            _ => unreachable!("the server of a direct connection is this socket"),
        }
    }

    /// Drives the connection until this holds, or it has ended.
    fn wait(&mut self, until: Option<Instant>, is_done: impl Fn(&mut Self) -> bool) -> io::Result<()> {
        let result = self.try_wait(until, is_done);
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.step_back();
        }
        result
    }

    /// From now on, calls that wait return `Interrupted` also if there may have been a signal that has not ended their sleep: once when
    /// they have waited for a moment, and once after each time that something woke them.
    pub fn look_for_signals(&mut self) {
        self.looks = true;
    }

    /// Nobody is to wait for it at the gate while its user does not call it.
    pub fn step_back(&mut self) {
        self.pair.step_back();
        self.is_driven = false;
        self.has_looked = false;
    }

    fn try_wait(&mut self, until: Option<Instant>, is_done: impl Fn(&mut Self) -> bool) -> io::Result<()> {
        let waker = Arc::clone(&self.bell).into();
        let mut cx = Context::from_waker(&waker);
        let mut is_over = false;
        let mut look = None;
        loop {
            if !std::mem::replace(&mut self.is_driven, true) {
                self.drive(&mut cx);
            }
            if self.end.is_some() || is_done(self) {
                return Ok(());
            }
            if is_over {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let now = Instant::now();
            if self.looks && !std::mem::take(&mut self.has_looked) {
                look.get_or_insert_with(|| now + LOOK_FOR_SIGNALS);
            }
            if look.is_some_and(|look| look <= now) {
                self.has_looked = true;
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = until.map(|until| until.saturating_duration_since(now));
            let nap = left.into_iter().chain(look.map(|look| look - now)).min();
            self.is_driven = false;
            // What has come in no time is known only when the server was asked.
            is_over = self.sleep(nap)? && left == Some(Duration::ZERO);
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.end.is_some() {
            return;
        }
        if self.shared.stage() == Stage::Stopped {
            self.end = Some(Ended::Broken(io::ErrorKind::ConnectionAborted, None));
            return;
        }
        let Poll::Ready(end) = Pin::new(&mut self.pair).poll(cx) else { return };
        self.pair.leave();
        let rest = self.pair.take_backlog();
        self.memory().set_limit(None);
        self.write_last(&rest);
        self.end = Some(match end {
            End::Closed => Ended::Closed,
            End::Io(error) | End::Refused(error) => Ended::of(&error),
            End::Session(error) => {
                tracing::warn!(%error, "a connection cannot go on");
                self.write_last(format!("-ERR unbusy: {error}\r\n").as_bytes());
                Ended::Closed
            }
        });
    }

    fn write_last(&mut self, bytes: &[u8]) {
        let written = self.memory().write(&[IoSlice::new(bytes)]);
        debug_assert!(written.is_ready(), "there is no limit any more");
    }

    /// Waits for the server, the gate, or the time. Whether the server's socket was looked at.
    fn sleep(&mut self, at_most: Option<Duration>) -> io::Result<bool> {
        let wake = self.pair.wake_time().map(|moment| since(moment, sync::now()));
        let wait = at_most.into_iter().chain(wake).min();
        let timeout = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let socket = self.socket();
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, socket.is_full());
        let seen = if self.pair.waits_for_server_only() {
            let mut fds = [PollFd::new(socket, interest)];
            poll(&mut fds, timeout.as_ref())?;
            fds[0].revents()
        } else {
            let Some(rope) = self.bell.rope()? else { return Ok(false) };
            let mut fds = [PollFd::new(socket, interest), PollFd::new(&rope, PollFlags::IN)];
            poll(&mut fds, timeout.as_ref())?;
            let [socket, rope] = fds.map(|fd| fd.revents());
            if !rope.is_empty() {
                self.bell.let_hang();
            }
            socket
        };
        self.socket_mut().is_ready(seen);
        Ok(true)
    }
}

fn proxy_has_ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the proxy has ended")
}

fn since(moment: Time, now: Time) -> Duration {
    if moment > now { moment - now } else { Duration::ZERO }
}
