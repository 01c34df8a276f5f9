//! Connections of the process that the proxy runs in, which need no listener.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// A connection that [`Proxy::connect`](crate::Proxy::connect) has begun: its server is being connected to.
#[derive(Debug)]
pub struct Connecting {
    stream: UnixStream,
    outcome: Receiver<io::Result<()>>,
}

impl Connecting {
    /// Waits for the server; gives itself back if that takes longer.
    ///
    /// # Errors
    /// When it is not known yet. What went wrong with the server is within the outcome.
    pub fn wait(self, at_most: Duration) -> Result<io::Result<UnixStream>, Self> {
        match self.outcome.recv_timeout(at_most) {
            Ok(outcome) => Ok(outcome.map(|()| self.stream)),
            Err(RecvTimeoutError::Timeout) => Err(self),
            Err(RecvTimeoutError::Disconnected) => {
                Ok(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the proxy has ended")))
            }
        }
    }
}

/// The one that waits for the server of a [`Connecting`].
pub(crate) struct Caller(SyncSender<io::Result<()>>);

impl Caller {
    pub(crate) fn tell(&self, outcome: io::Result<()>) {
        // It may have given up.
        let _ = self.0.try_send(outcome);
    }
}

/// Both ends of a connection, and who is to hear of its server.
pub(crate) fn begin() -> io::Result<(Connecting, UnixStream, Caller)> {
    let (stream, inner) = UnixStream::pair()?;
    inner.set_nonblocking(true)?;
    let (teller, outcome) = sync_channel(1);
    Ok((Connecting { stream, outcome }, inner, Caller(teller)))
}
