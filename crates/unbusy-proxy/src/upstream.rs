//! Connecting to the server.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::{Address, Config};
use crate::stream::Stream;
use crate::{StartError, tls};

/// A peer that vanished without a word is noticed after about this.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Knows how to reach the server.
pub(crate) struct Connector {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Result<Self, StartError> {
        let tls = match (&config.upstream.tls, &config.upstream.address) {
            (Some(settings), Address::Tcp { host, .. }) => Some(tls::connector(settings, host)?),
            _ => None,
        };
        Ok(Self { address: config.upstream.address.clone(), tls, timeout: config.connect_timeout })
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let connected = tokio::time::timeout(self.timeout, self.connect_patiently()).await;
        connected.unwrap_or_else(|_| {
            let waited = self.timeout;
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {waited:?}")))
        })
    }

    async fn connect_patiently(&self) -> io::Result<Stream> {
        let (host, port) = match &self.address {
            Address::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
            Address::Tcp { host, port } => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        tune(&stream)?;
        match &self.tls {
            None => Ok(Stream::Tcp(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Stream::Tls(Box::new(stream.into())))
            }
        }
    }
}

/// Small writes go at once, and a peer that vanished is noticed.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
