//! One byte stream type for TCP, unix sockets, TLS, and what a connection has that its user drives.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::direct::{Memory, Socket};
use crate::uring;

/// A connection to a client or to the server.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// The client that drives the connection itself, and its server.
    Memory(Box<Memory>),
    Direct(Socket),
    /// Any of the first two, on the worker's ring.
    Ring(uring::Socket),
}

/// What is known of the peer's end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    No,
    /// It sends nothing more, and may still read.
    PerhapsHalf,
    Wholly,
}

impl Stream {
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Memory(memory) => memory.read(buffer).map(Ok),
            Self::Direct(socket) => socket.read(buffer),
            Self::Ring(socket) => socket.read(cx, buffer),
        }
    }

    /// The peer's address, if it has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Ring(socket) => socket.peer(),
            Self::Unix(_) | Self::Memory(_) | Self::Direct(_) => None,
        }
    }

    /// Whether there is certainly nothing more to read after a read that did not fill its buffer. If so, the task is woken
    /// when there is; TLS may have more in a buffer of its own.
    pub(crate) fn is_dry(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx).is_pending(),
            Self::Unix(stream) => stream.poll_read_ready(cx).is_pending(),
            Self::Tls(_) => false,
            Self::Memory(memory) => memory.is_read(),
            Self::Direct(socket) => socket.is_dry(),
            Self::Ring(socket) => socket.is_dry(cx),
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Memory(_) | Self::Direct(_) | Self::Ring(_) => {
                self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
            }
        }
    }

    /// Writes to the kernel before it returns; a ring would gather it for a moment.
    pub(crate) fn poll_write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Ring(socket) => socket.write_now(cx, bytes),
            _ => self.poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Memory(memory) => memory.write(slices).map(Ok),
            Self::Direct(socket) => socket.write(slices),
            Self::Ring(socket) => socket.write(cx, slices),
        }
    }

    /// Only TLS keeps bytes of its own that must be pushed out; a ring sends them by itself, but not at once.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Ring(socket) => socket.flush(cx),
            Self::Tcp(_) | Self::Unix(_) | Self::Memory(_) | Self::Direct(_) => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Memory(_) => Poll::Ready(Ok(())),
            Self::Direct(socket) => Poll::Ready(SockRef::from(&*socket).shutdown(Shutdown::Write)),
            Self::Ring(socket) => socket.shutdown(cx),
        }
    }

    /// Ends the connection even if a process that was forked from this one has its socket as well, of which closing it here
    /// would know nothing.
    pub(crate) fn hang_up(&self) {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
            Self::Direct(socket) => SockRef::from(socket),
            Self::Ring(socket) => return socket.hang_up(),
            Self::Memory(_) => return,
        };
        // The peer may have been first.
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// Whether the peer's TLS does not want us, and the connection did not simply end. With TLS 1.3 that comes after
    /// the handshake.
    pub(crate) fn is_refusal(&self, error: &io::Error) -> bool {
        matches!(self, Self::Tls(_)) && error.kind() != io::ErrorKind::UnexpectedEof
    }

    /// How far the peer has closed the connection, even if bytes it sent before are still unread.
    pub(crate) fn peer_closed(&self, cx: &mut Context<'_>) -> Closed {
        let both = Interest::READABLE | Interest::WRITABLE;
        let ready = match self {
            Self::Tcp(stream) => std::pin::pin!(stream.ready(both)).poll(cx),
            Self::Unix(stream) => std::pin::pin!(stream.ready(both)).poll(cx),
            Self::Tls(stream) => std::pin::pin!(stream.get_ref().0.ready(both)).poll(cx),
            Self::Ring(socket) => return socket.peer_closed(),
            // Who drives it is there.
            Self::Memory(_) | Self::Direct(_) => return Closed::No,
        };
        match ready {
            Poll::Ready(Ok(ready)) if ready.is_write_closed() => Closed::Wholly,
            Poll::Ready(Ok(ready)) if ready.is_read_closed() => Closed::PerhapsHalf,
            _ => Closed::No,
        }
    }
}
