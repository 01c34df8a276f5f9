//! The admin endpoint: what the proxy does and did, over HTTP, for people, scrapers and probes. Nothing here changes anything.
//!
//! It has a thread and a runtime of its own. Slow, many or malformed clients cost that thread's time and a bounded number of
//! sockets; of what connections need it only takes the gate's lock, ten times a second at most and for the length of a look.

mod dashboard;
mod events;
mod exposition;
mod losses;
mod metrics;
mod pages;
mod ready;
mod scripts;
mod state;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutStream;

use crate::config::{Address, Config};
use crate::listen::{self, Listener};
use crate::shared::Shared;
use crate::upstream::Connector;
use crate::{StartError, worker};

/// Served at the same time; others wait for one of them to end.
pub const CONNECTIONS_MAX: usize = 256;
/// How long a request may take to arrive. With all places taken by clients that send nothing, the next are served after this.
const REQUEST_WAIT: Duration = Duration::from_secs(2);
/// How long a client may refuse to take any more of a response.
const WRITE_WAIT: Duration = Duration::from_secs(10);
/// Of the request line and all headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is shown.
pub(crate) struct Subject {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) listeners: Vec<Address>,
}

/// An open listener for it, not yet served.
pub(crate) struct Opened {
    listener: std::net::TcpListener,
    address: Address,
    /// The only name besides this machine's own that requests may call it by; `None`: any.
    host: Option<String>,
}

/// The running endpoint. It ends with [`end`](Self::end) or the process.
pub(crate) struct Admin {
    address: Address,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Opens the listener, if there is to be one.
pub(crate) fn open(config: &Config) -> Result<Option<Opened>, StartError> {
    let Some(asked @ Address::Tcp { host, .. }) = &config.admin else { return Ok(None) };
    let host = (!config.allow_remote).then(|| host.clone());
    match listen::open(asked, config.allow_remote) {
        Ok((Listener::Tcp(listener), address)) => Ok(Some(Opened { listener, address, host })),
        Ok((Listener::Unix(..), _)) => Ok(None),
        Err(StartError::Remote { address }) => Err(StartError::RemoteAdmin { address }),
        Err(error) => Err(error),
    }
}

impl Opened {
    /// Serves on a thread of its own.
    pub(crate) fn serve(self, context: &worker::Context, listeners: &[Address]) -> io::Result<Admin> {
        let Self { listener, address, host } = self;
        let subject = Subject {
            shared: Arc::clone(&context.shared),
            connector: Arc::clone(&context.connector),
            listeners: listeners.to_vec(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("unbusy-admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    Ok(()) = ended => {}
                    Err(error) = serve(listener, pages::router(host, subject)) => {
                        tracing::warn!(%error, "the admin endpoint has ended");
                    }
                }
            });
            // Looking up a name may take long, and nobody waits for it any more.
            runtime.shutdown_background();
        })?;
        Ok(Admin { address, end, thread })
    }
}

impl Admin {
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Ends it, and all responses with it.
    pub(crate) fn end(self) {
        // It may have ended by itself.
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

async fn serve(listener: std::net::TcpListener, router: Router) -> io::Result<std::convert::Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "an admin connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            if let Err(error) = attend(stream, router).await {
                tracing::debug!(%error, "an admin connection failed");
            }
            drop(place);
        });
    }
}

/// One request, and its response.
async fn attend(stream: TcpStream, router: Router) -> hyper::Result<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WAIT));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router))
        .await
}
