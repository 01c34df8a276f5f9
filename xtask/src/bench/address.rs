//! Where a server or a proxy listens.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, bail, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(super) enum Address {
    /// On 127.0.0.1.
    Tcp(u16),
    Unix(PathBuf),
}

/// A connection of either kind.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Address {
    /// A port that nobody has at this moment.
    pub(super) fn free_port() -> io::Result<u16> {
        Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
    }

    pub(super) fn port(&self) -> Result<u16> {
        match self {
            Self::Tcp(port) => Ok(*port),
            Self::Unix(path) => bail!("{} is no port", path.display()),
        }
    }

    pub(super) fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }

    /// A connection that is known to be served, since its PING was answered.
    pub(super) fn greet(&self) -> Result<Box<dyn Stream>> {
        let mut stream = self.connect()?;
        stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        ensure!(&answer == b"+PONG\r\n", "PING was answered {:?}", String::from_utf8_lossy(&answer));
        Ok(stream)
    }

    /// The options of redis-benchmark that lead there.
    pub(super) fn options(&self) -> Vec<String> {
        match self {
            Self::Tcp(port) => vec!["-h".into(), "127.0.0.1".into(), "-p".into(), port.to_string()],
            Self::Unix(path) => vec!["-s".into(), path.display().to_string()],
        }
    }
}
