//! A connection that the calling thread drives itself, with the methods of a socket that redis-py uses.

use std::io;
use std::os::fd::{AsRawFd as _, IntoRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyBlockingIOError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;
use pyo3::types::{PyBytes, PySlice};
use unbusy_proxy::Ender;

use crate::{Engine, closed, contiguous, os_error};

/// A connection to the server. Its methods are those of a socket; one thread at a time can use it.
#[pyclass(frozen, module = "unbusy._engine")]
pub(crate) struct Direct {
    /// `None` when it is closed, or has become a socket.
    inner: Mutex<Option<unbusy_proxy::Direct>>,
    ender: Mutex<Option<Ender>>,
    /// For how long a call may wait; `None` for ever.
    timeout: Mutex<Option<Duration>>,
    process: u32,
    /// Its gate and its threads.
    _engine: Py<Engine>,
}

#[pymethods]
impl Direct {
    fn settimeout(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<()> {
        *locked(py, &self.timeout) = seconds.map(|seconds| crate::seconds("timeout", seconds)).transpose()?;
        Ok(())
    }

    fn gettimeout(&self, py: Python<'_>) -> Option<f64> {
        locked(py, &self.timeout).map(|wait| wait.as_secs_f64())
    }

    /// `peek`: what is given stays there.
    #[pyo3(signature = (bufsize, peek = false))]
    fn recv(&self, py: Python<'_>, bufsize: usize, peek: bool) -> PyResult<Py<PyBytes>> {
        self.receive(py, bufsize, |bytes| {
            let taken = if peek { 0 } else { bytes.len() };
            Ok((taken, PyBytes::new(py, bytes).unbind()))
        })
    }

    #[pyo3(signature = (buffer, nbytes = 0))]
    fn recv_into(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>, nbytes: usize) -> PyResult<usize> {
        let room = buffer.len()?;
        let most = if nbytes == 0 { room } else { nbytes.min(room) };
        self.receive(py, most, |bytes| {
            let part = PySlice::new(py, 0, bytes.len().cast_signed(), 1);
            buffer.set_item(part, PyBytes::new(py, bytes))?;
            Ok((bytes.len(), bytes.len()))
        })
    }

    fn sendall(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = contiguous(data)?;
        let mut unsent = bytes.as_bytes();
        self.in_time(py, |direct, until| direct.send(std::mem::take(&mut unsent), until))
    }

    /// Goes on with what could not be sent in time.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        self.in_time(py, unbusy_proxy::Direct::settle)
    }

    /// How many bytes are there already.
    fn pending(&self, py: Python<'_>) -> usize {
        locked(py, &self.inner).as_ref().map_or(0, |direct| direct.buffered().len())
    }

    /// Whether there is something to read, or the connection has ended, within so many seconds. What the server says to the
    /// engine only does not count.
    fn is_readable(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        if seconds == Some(0.0)
            && !locked(py, &self.inner).as_ref().is_none_or(unbusy_proxy::Direct::is_readable)
        {
            return Ok(false);
        }
        let timeout = seconds.map(|seconds| crate::seconds("timeout", seconds)).transpose()?;
        self.attempt(py, timeout, |direct, until| match direct.fill(until) {
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {
                Err(error)
            }
            // What is wrong is told who reads.
            _ => Ok(()),
        })
    }

    fn is_subscribed(&self, py: Python<'_>) -> bool {
        locked(py, &self.inner).as_ref().is_some_and(unbusy_proxy::Direct::is_subscribed)
    }

    /// The descriptor of the server's socket, to ask whether it is readable.
    fn server_fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        locked(py, &self.inner).as_ref().map(|direct| direct.server_fd().as_raw_fd()).ok_or_else(closed)
    }

    /// Gives the descriptor of a socket that goes on in its place.
    fn detach(&self, py: Python<'_>) -> PyResult<RawFd> {
        drop(locked(py, &self.ender).take());
        let direct = locked(py, &self.inner).take().ok_or_else(closed)?;
        let socket = py.detach(|| direct.into_socket());
        socket.map(IntoRawFd::into_raw_fd).map_err(|error| os_error(&error))
    }

    fn shutdown(&self, py: Python<'_>, how: i32) {
        let _ = how;
        if let Some(ender) = &*locked(py, &self.ender) {
            ender.hang_up();
        }
    }

    fn close(&self, py: Python<'_>) {
        drop(locked(py, &self.ender).take());
        // A thread that uses it now lets it go in the end.
        if let Ok(mut inner) = self.inner.try_lock() {
            self.let_go(inner.take());
        }
    }
}

impl Direct {
    pub(crate) fn new(mut direct: unbusy_proxy::Direct, engine: Py<Engine>) -> Self {
        direct.look_for_signals();
        Self {
            ender: Mutex::new(Some(direct.ender())),
            inner: Mutex::new(Some(direct)),
            timeout: Mutex::new(None),
            process: std::process::id(),
            _engine: engine,
        }
    }

    /// Waits for bytes, and gives up to so many of them to `take`, which tells how many of them are done with.
    fn receive<R>(
        &self,
        py: Python<'_>,
        most: usize,
        take: impl FnOnce(&[u8]) -> PyResult<(usize, R)>,
    ) -> PyResult<R> {
        if self.pending(py) == 0 {
            self.in_time(py, |direct, until| direct.fill(until).map(|_| ()))?;
        }
        let mut guard = locked(py, &self.inner);
        let direct = guard.as_mut().ok_or_else(closed)?;
        let count = direct.buffered().len().min(most);
        let (taken, result) = take(&direct.buffered()[..count])?;
        direct.consume(taken);
        Ok(result)
    }

    /// Calls this, which may take as long as the time-out says.
    fn in_time(
        &self,
        py: Python<'_>,
        call: impl FnMut(&mut unbusy_proxy::Direct, Option<Instant>) -> io::Result<()> + Send,
    ) -> PyResult<()> {
        let timeout = *locked(py, &self.timeout);
        if self.attempt(py, timeout, call)? { Ok(()) } else { Err(late(timeout)) }
    }

    /// Calls this, without the interpreter's lock, and again for as long as signals are all that it was interrupted for. `false`: the time is over.
    fn attempt(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        mut call: impl FnMut(&mut unbusy_proxy::Direct, Option<Instant>) -> io::Result<()> + Send,
    ) -> PyResult<bool> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let result = py.detach(|| {
                let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.as_mut().map(|direct| call(direct, until))
            });
            match result.ok_or_else(closed)? {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    py.check_signals().inspect_err(|_| self.step_back(py))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(os_error(&error)),
                Ok(()) => return Ok(true),
            }
        }
    }

    /// It is not called again at once.
    fn step_back(&self, py: Python<'_>) {
        if let Some(direct) = &mut *locked(py, &self.inner) {
            direct.step_back();
        }
    }

    fn let_go(&self, inner: Option<unbusy_proxy::Direct>) {
        match inner {
            // After a fork what it shares with others is the parent's.
            Some(direct) if self.process != std::process::id() => direct.forget(),
            inner => drop(inner),
        }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.let_go(inner);
    }
}

/// Another thread that has it may need the interpreter before it lets it go.
fn locked<'a, T>(py: Python<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    mutex.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
}

/// What a socket of Python's own would have raised.
fn late(timeout: Option<Duration>) -> PyErr {
    if timeout == Some(Duration::ZERO) {
        let error = io::Error::from(rustix::io::Errno::AGAIN);
        return PyBlockingIOError::new_err((error.raw_os_error(), error.to_string()));
    }
    PyTimeoutError::new_err("timed out")
}
