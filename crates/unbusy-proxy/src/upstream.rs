//! Connecting to the server.

use std::io;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::{Address, Upstream};
use crate::inquiry::{Inquiry, InquiryError};
use crate::stream::Stream;
use crate::{StartError, tls};

/// A peer that vanished without a word is noticed after about this.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);

/// Knows how to reach a server.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use unbusy_proxy::{Config, Connector};
/// let upstream = Config::default().upstream;
/// let mut server = Connector::new(&upstream, Duration::from_secs(1))?.inquire().await?;
/// server.log_in(&upstream).await?;
/// assert_eq!(server.ask(&["PING"]).await?, b"+PONG\r\n");
/// # Ok(())
/// # }
/// ```
pub struct Connector {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Connector {
    /// For this server; connecting may take so long.
    ///
    /// # Errors
    /// When the settings for TLS cannot be used.
    pub fn new(upstream: &Upstream, timeout: Duration) -> Result<Self, StartError> {
        let tls = match (&upstream.tls, &upstream.address) {
            (Some(settings), Address::Tcp { host, .. }) => Some(tls::connector(settings, host)?),
            _ => None,
        };
        Ok(Self { address: upstream.address.clone(), tls, timeout })
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        self.in_time(async { self.greet(self.dial().await?).await }).await
    }

    /// Connects for questions, within the time, and within the same time again where TLS needs an answer of the server.
    ///
    /// # Errors
    /// When the server cannot be reached, or does not answer.
    pub async fn inquire(&self) -> Result<Inquiry, InquiryError> {
        let stream = self.in_time(self.dial()).await.map_err(InquiryError::Unreachable)?;
        match tokio::time::timeout(self.timeout, self.greet(stream)).await {
            Ok(stream) => stream.map(Inquiry::on).map_err(InquiryError::Unreachable),
            Err(_) => Err(InquiryError::Silent(self.timeout)),
        }
    }

    async fn in_time<T>(&self, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::time::timeout(self.timeout, connecting).await.unwrap_or_else(|_| {
            let waited = self.timeout;
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {waited:?}")))
        })
    }

    async fn dial(&self) -> io::Result<Stream> {
        let (host, port) = match &self.address {
            Address::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
            Address::Tcp { host, port } => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        tune(&SockRef::from(&stream))?;
        Ok(Stream::Tcp(stream))
    }

    /// The server's part of a new connection: TLS, if it has that.
    async fn greet(&self, stream: Stream) -> io::Result<Stream> {
        match (&self.tls, stream) {
            (Some((connector, name)), Stream::Tcp(stream)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Stream::Tls(Box::new(stream.into())))
            }
            (_, stream) => Ok(stream),
        }
    }
}

/// Small writes go at once, and a peer that vanished is noticed.
pub(crate) fn tune(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))
}
