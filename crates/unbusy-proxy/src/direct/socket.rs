//! A socket without a runtime: it does not block, and whoever drives it looks whether it is ready.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::Poll;

use rustix::event::PollFlags;
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};

use crate::stream::Stream;

pub(crate) struct Socket {
    stream: Arc<socket2::Socket>,
    is_unix: bool,
    /// There was nothing more to read, or no room to write, when it was last tried.
    dry: bool,
    full: bool,
}

impl Socket {
    /// Takes a connection away from its runtime. TLS has bytes of its own, and cannot be taken.
    pub(crate) fn out_of(stream: Stream) -> io::Result<Self> {
        let (fd, is_unix) = match stream {
            Stream::Tcp(stream) => (OwnedFd::from(stream.into_std()?), false),
            Stream::Unix(stream) => (OwnedFd::from(stream.into_std()?), true),
            Stream::Direct(socket) => return Ok(socket),
            Stream::Tls(_) | Stream::Memory(_) | Stream::Ring(_) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        };
        Ok(Self { stream: Arc::new(fd.into()), is_unix, dry: false, full: false })
    }

    /// Gives it to this thread's runtime.
    pub(crate) fn into_stream(self) -> io::Result<Stream> {
        // Whoever may end it has the other descriptor.
        let fd = OwnedFd::from(self.stream.try_clone()?);
        if self.is_unix {
            return UnixStream::from_std(fd.into()).map(Stream::Unix);
        }
        TcpStream::from_std(fd.into()).map(Stream::Tcp)
    }

    pub(super) fn ender(&self) -> Ender {
        Ender(Arc::clone(&self.stream))
    }

    pub(crate) const fn is_dry(&self) -> bool {
        self.dry
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// This was seen of it.
    pub(super) fn is_ready(&mut self, seen: PollFlags) {
        let broken = seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        self.dry &= !(broken || seen.contains(PollFlags::IN));
        self.full &= !(broken || seen.contains(PollFlags::OUT));
    }

    pub(crate) fn read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.dry {
            return Poll::Pending;
        }
        let room = buffer.remaining();
        match retried(|| (&*self.stream).read(buffer.initialize_unfilled())) {
            Ok(count) => {
                buffer.advance(count);
                // As with tokio: a read that was not filled has emptied the socket, unless it was the end.
                self.dry = 0 < count && count < room;
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.dry = true;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.full {
            return Poll::Pending;
        }
        match retried(|| (&*self.stream).write_vectored(slices)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.full = true;
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }
}

/// Ends a connection while somebody else uses it.
#[derive(Debug)]
pub struct Ender(Arc<socket2::Socket>);

impl Ender {
    /// Ends the connection, for all who have its socket.
    pub fn hang_up(&self) {
        // The server may have been first.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl AsFd for Ender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Such calls do not wait, so a signal is nothing to return for.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
