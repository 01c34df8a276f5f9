//! A connection that an event loop drives, for a transport of asyncio's.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{Engine, closed, contiguous, os_error};

/// A connection to the server, for the thread of one loop. No method waits, so they keep the interpreter's lock.
#[pyclass(frozen, module = "unbusy._engine")]
pub(crate) struct Polled {
    /// `None` when it is closed.
    inner: Mutex<Option<unbusy_proxy::Polled>>,
    process: u32,
    /// Its gate and its threads.
    _engine: Py<Engine>,
}

#[pymethods]
impl Polled {
    /// Whether nothing but the answer is to be waited for: else `watch` tells for what.
    fn send(&self, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let bytes = contiguous(data)?;
        self.with(|polled| {
            polled.send(bytes.as_bytes())?;
            Ok(polled.is_calm())
        })
    }

    /// What has come, and nothing if the connection has ended; and whether nothing but the next answer is to be waited for.
    fn recv(&self, py: Python<'_>) -> PyResult<(Py<PyBytes>, bool)> {
        self.with(|polled| {
            let bytes = polled.receive(|bytes| PyBytes::new(py, bytes).unbind())?;
            Ok((bytes, polled.is_calm()))
        })
    }

    fn turn(&self) -> PyResult<()> {
        self.with(unbusy_proxy::Polled::turn)
    }

    fn lend(&self) -> PyResult<()> {
        self.with(unbusy_proxy::Polled::lend)
    }

    /// Whether nothing but the answer is to be waited for; the descriptor to be watched; whether it is to be written; how many bytes
    /// wait for that, or for answers; whether it waits for its turn; whether there is something to receive.
    fn watch(&self) -> PyResult<(bool, RawFd, bool, usize, bool, bool)> {
        self.with(|polled| {
            let (is_calm, watch) = (polled.is_calm(), polled.watch()?);
            Ok((is_calm, watch.socket.as_raw_fd(), watch.writes, watch.unsent, watch.waits, watch.has_more))
        })
    }

    /// The descriptor of the server's socket, to be asked about.
    fn server_fileno(&self) -> PyResult<RawFd> {
        self.with(|polled| Ok(polled.server_fd()?.as_raw_fd()))
    }

    fn close(&self) {
        if let Some(polled) = self.locked().take() {
            self.let_go(polled);
        }
    }
}

impl Polled {
    pub(crate) fn new(direct: unbusy_proxy::Direct, engine: Py<Engine>) -> Self {
        let inner = Mutex::new(Some(direct.into()));
        Self { inner, process: std::process::id(), _engine: engine }
    }

    fn with<R>(&self, call: impl FnOnce(&mut unbusy_proxy::Polled) -> io::Result<R>) -> PyResult<R> {
        call(self.locked().as_mut().ok_or_else(closed)?).map_err(|error| os_error(&error))
    }

    /// Nobody keeps it for long: all have the interpreter's lock.
    fn locked(&self) -> MutexGuard<'_, Option<unbusy_proxy::Polled>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_go(&self, polled: unbusy_proxy::Polled) {
        // After a fork what it shares with others is the parent's.
        if self.process == std::process::id() {
            drop(polled);
        } else {
            polled.forget();
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.close();
    }
}
