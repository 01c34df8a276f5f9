//! Workers on Linux's `io_uring`: where it is asked for, and what a connection does with a socket there.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
pub(crate) use unbusy_uring::{Waiting, stop, turn};

use crate::config::Io;
use crate::stream::{Closed, Stream};

/// Whether workers are to have a ring, which is tried.
pub(crate) fn is_wanted(io: Io) -> io::Result<bool> {
    if io == Io::Epoll {
        return Ok(false);
    }
    match unbusy_uring::Ring::new() {
        Ok(_) => Ok(true),
        Err(error) if io == Io::Uring => Err(error),
        Err(error) => {
            tracing::info!(%error, "io_uring is not to be had; sockets are read and written as usual");
            Ok(false)
        }
    }
}

/// Gives this worker's thread a ring, within its runtime: what comes to the ring wakes the runtime.
pub(crate) fn start(waiting: Waiting) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "unsound only for what may change its descriptor, which an owned one does not"
    )]
    let completions = AsyncFd::with_interest(unbusy_uring::start(waiting)?, Interest::READABLE)?;
    tokio::spawn(std::future::poll_fn(move |cx| {
        while let Poll::Ready(ready) = completions.poll_read_ready(cx) {
            match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return Poll::Ready(()),
            }
        }
        unbusy_uring::hand_over(cx);
        Poll::Pending
    }));
    Ok(())
}

/// Puts a connection on this thread's ring, if it has one.
pub(crate) fn adopt(stream: Stream) -> io::Result<Stream> {
    let (fd, is_unix) = match stream {
        stream if !unbusy_uring::is_started() => return Ok(stream),
        Stream::Tcp(stream) => (OwnedFd::from(stream.into_std()?), false),
        Stream::Unix(stream) => (OwnedFd::from(stream.into_std()?), true),
        stream => return Ok(stream),
    };
    match Socket::on_ring(fd) {
        Ok(socket) => Ok(Stream::Ring(socket)),
        Err(fd) if is_unix => UnixStream::from_std(fd.into()).map(Stream::Unix),
        Err(fd) => TcpStream::from_std(fd.into()).map(Stream::Tcp),
    }
}

pub(crate) struct Socket(unbusy_uring::Socket);

impl Socket {
    /// On this thread's ring; gives it back if there is none.
    pub(crate) fn on_ring(fd: OwnedFd) -> Result<Self, OwnedFd> {
        unbusy_uring::adopt(fd).map(Self)
    }

    pub(crate) fn read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.0.poll_read(cx, buffer.initialize_unfilled());
        read.map_ok(|count| buffer.advance(count))
    }

    pub(crate) fn is_dry(&self, cx: &mut Context<'_>) -> bool {
        self.0.is_dry(cx)
    }

    pub(crate) fn write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    pub(crate) fn write_now(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write_now(cx, &[IoSlice::new(bytes)])
    }

    pub(crate) fn flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    pub(crate) fn shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush(cx).map_ok(|()| self.end(Shutdown::Write))
    }

    pub(crate) fn hang_up(&self) {
        self.end(Shutdown::Both);
    }

    fn end(&self, how: Shutdown) {
        // The peer may have been first.
        let _ = self.0.with_fd(|fd| SockRef::from(&fd).shutdown(how));
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.0.with_fd(|fd| SockRef::from(&fd).peer_addr().ok()?.as_socket()).flatten()
    }

    pub(crate) fn peer_closed(&self) -> Closed {
        let seen = self.0.with_fd(|fd| {
            let mut look = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
            // Without waiting; that it fails says nothing of the peer.
            let _ = rustix::event::poll(&mut look, Some(&Timespec::default()));
            look[0].revents()
        });
        match seen {
            Some(seen) if seen.intersects(PollFlags::HUP | PollFlags::ERR) => Closed::Wholly,
            Some(seen) if seen.contains(PollFlags::RDHUP) => Closed::PerhapsHalf,
            _ => Closed::No,
        }
    }
}
