//! Connections of the process that the proxy runs in, which need no listener.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// A connection that [`Proxy::connect`](crate::Proxy::connect) or
/// [`Proxy::connect_direct`](crate::Proxy::connect_direct) has begun: its server is being connected to.
#[derive(Debug)]
pub struct Connecting<T>(Receiver<io::Result<T>>);

impl<T> Connecting<T> {
    /// Waits for the server; gives itself back if that takes longer.
    ///
    /// # Errors
    /// When it is not known yet. What went wrong with the server is within the outcome.
    pub fn wait(self, at_most: Duration) -> Result<io::Result<T>, Self> {
        match self.0.recv_timeout(at_most) {
            Ok(outcome) => Ok(outcome),
            Err(RecvTimeoutError::Timeout) => Err(self),
            Err(RecvTimeoutError::Disconnected) => {
                Ok(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the proxy has ended")))
            }
        }
    }
}

/// The one that waits for the server of a [`Connecting`].
pub(crate) struct Caller<T>(SyncSender<io::Result<T>>);

impl<T> Caller<T> {
    pub(crate) fn tell(&self, outcome: io::Result<T>) {
        // It may have given up.
        let _ = self.0.try_send(outcome);
    }
}

/// One who waits, and one who tells.
pub(crate) fn begin<T>() -> (Connecting<T>, Caller<T>) {
    let (teller, outcome) = sync_channel(1);
    (Connecting(outcome), Caller(teller))
}
