//! The engine for Python: a proxy without listeners, on threads of its own that never need the interpreter.

mod direct;
mod polled;

use std::io::{self, Write as _};
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use direct::Direct;
use polled::Polled;
use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use unbusy_core::Event;
use unbusy_proxy::{Address, Config, Connecting, HoldKinds, Proxy, Upstream, UpstreamTls};

/// While a connection is made, signals (Ctrl-C) are looked for this often.
const SIGNALS: Duration = Duration::from_millis(50);

/// What an engine is told; the fields of the class of the same name in Python.
#[derive(FromPyObject)]
struct Settings {
    host: String,
    port: u16,
    /// Of a unix socket, in place of a host and a port.
    path: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
    tls: Option<Tls>,
    connect_timeout: Option<f64>,
    max_wait: f64,
    hold: Vec<String>,
}

#[derive(FromPyObject)]
struct Tls {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Serves the connections of this process to one server.
#[pyclass(frozen, weakref, module = "unbusy._engine")]
struct Engine {
    /// `None` only while it is dropped.
    proxy: Option<Proxy>,
    process: u32,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(settings: Settings) -> PyResult<Self> {
        let proxy = Proxy::start(config(settings)?);
        let proxy = proxy.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { proxy: Some(proxy), process: std::process::id() })
    }

    /// Connects to the server; gives the descriptor of a socket that leads there through the engine.
    fn connect(&self, py: Python<'_>) -> PyResult<RawFd> {
        wait_for(py, self.proxy().connect()).map(IntoRawFd::into_raw_fd)
    }

    /// Connects to the server, for the calling threads to drive the connection themselves. Not with TLS.
    fn connect_direct(this: Bound<'_, Self>) -> PyResult<Direct> {
        let direct = wait_for(this.py(), this.get().proxy().connect_direct())?;
        Ok(Direct::new(direct, this.unbind()))
    }

    /// Connects to the server, for an event loop to drive the connection. Not with TLS.
    fn connect_polled(this: Bound<'_, Self>) -> PyResult<Polled> {
        let direct = wait_for(this.py(), this.get().proxy().connect_direct())?;
        Ok(Polled::new(direct, this.unbind()))
    }

    /// The descriptor of a socket on which a line tells of each event, until the engine ends.
    fn events(&self) -> PyResult<RawFd> {
        let (reader, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        self.proxy().watch(move |event| {
            if let Some(line) = notice(event) {
                // If thousands of them are unread nobody waits for this one.
                let _ = (&writer).write_all(line.as_bytes());
            }
        });
        Ok(reader.into_raw_fd())
    }

    /// For how many seconds the server has not been busy: 0 while it is, infinity if it never was.
    fn calm(&self) -> f64 {
        self.proxy().calm().map_or(f64::INFINITY, |calm| calm.as_secs_f64())
    }
}

impl Engine {
    const fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(proxy) = self.proxy.take() else { return };
        if self.process == std::process::id() {
            proxy.stopper().stop_now();
        } else {
            // After a fork its threads are the parent's, and so is what they share with it.
            std::mem::forget(proxy);
        }
    }
}

fn wait_for<T: Send>(py: Python<'_>, connecting: io::Result<Connecting<T>>) -> PyResult<T> {
    let mut connecting = connecting.map_err(|error| os_error(&error))?;
    loop {
        connecting = match py.detach(|| connecting.wait(SIGNALS)) {
            Ok(outcome) => return outcome.map_err(|error| os_error(&error)),
            Err(connecting) => connecting,
        };
        py.check_signals()?;
    }
}

/// What is told of an event: a word for what happened, and what belongs to it.
fn notice(event: &Event) -> Option<String> {
    Some(match event {
        Event::EpisodeBegan { cause } => format!("busy {}\n", cause.name()),
        Event::EpisodeEnded(report) => {
            format!("free {:.3} {} {}\n", report.lasted.as_secs_f64(), report.commands, report.given_up)
        }
        Event::Hole => "hole\n".to_owned(),
        Event::Ambiguous => "ambiguous\n".to_owned(),
        Event::TooLarge => "large\n".to_owned(),
        _ => return None,
    })
}

fn config(settings: Settings) -> PyResult<Config> {
    let (host, port) = (settings.host, settings.port);
    let address = settings.path.map_or(Address::Tcp { host, port }, Address::Unix);
    let tls = settings.tls.map(|tls| UpstreamTls {
        ca: tls.ca,
        server_name: None,
        client_cert: tls.cert.map(|cert| (cert.clone(), tls.key.unwrap_or(cert))),
    });
    let (username, password) = (settings.username, settings.password);
    Ok(Config {
        listen: Vec::new(),
        upstream: Upstream { address, username, password, tls },
        max_wait: seconds("max_wait", settings.max_wait)?,
        hold: kinds(&settings.hold)?,
        threads: 1,
        max_connections: usize::MAX,
        connect_timeout: settings
            .connect_timeout
            .map_or(Ok(Duration::MAX), |wait| seconds("socket_connect_timeout", wait))?,
        ..Config::default()
    })
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    if value == f64::INFINITY {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(value)
        .map_err(|_| PyValueError::new_err(format!("{name}={value} is no number of seconds, like 120")))
}

fn kinds(names: &[String]) -> PyResult<HoldKinds> {
    let mut kinds = HoldKinds { busy: false, loading: false };
    for name in names {
        match name.as_str() {
            "busy" => kinds.busy = true,
            "loading" => kinds.loading = true,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "hold={name:?}: \"busy\" and \"loading\" can be held"
                )));
            }
        }
    }
    Ok(kinds)
}

/// The bytes of any object that has some.
fn contiguous<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    Ok(data.py().get_type::<PyBytes>().call1((data,))?.cast_into::<PyBytes>()?)
}

fn closed() -> PyErr {
    os_error(&rustix::io::Errno::BADF.into())
}

/// The exception that a socket of Python's own would have raised.
fn os_error(error: &io::Error) -> PyErr {
    let text = error.to_string();
    match (error.raw_os_error(), error.kind()) {
        (_, io::ErrorKind::TimedOut) => PyTimeoutError::new_err(text),
        (_, io::ErrorKind::WouldBlock) => PyBlockingIOError::new_err(text),
        (Some(number), _) => PyOSError::new_err((number, text)),
        (None, _) => PyOSError::new_err(text),
    }
}

/// The native part of the package `unbusy`.
#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::{Direct, Engine, Polled};
}
