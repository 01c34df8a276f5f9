//! A small client: one connection that sends commands and reads replies.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use unbusy_core::resp::{ReplyScanner, Scanned};
use unbusy_proxy::Address;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How a client begins on a new connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Login {
    /// The words behind AUTH: a password, or a user and a password.
    pub(super) auth: Vec<String>,
    pub(super) db: Option<String>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(super) struct Link {
    stream: BufReader<Box<dyn Wire>>,
    scanner: ReplyScanner,
}

impl Link {
    /// Connects, logs in and selects the database.
    pub(super) async fn open(address: &Address, login: &Login) -> anyhow::Result<Self> {
        let mut link = Self::open_while_busy(address, login).await?;
        if let Some(db) = &login.db {
            link.tell(&["SELECT", db]).await?;
        }
        Ok(link)
    }

    /// Connects and logs in, which servers allow even while they are busy.
    pub(super) async fn open_while_busy(address: &Address, login: &Login) -> anyhow::Result<Self> {
        let wire = tokio::time::timeout(CONNECT_LIMIT, connect(address)).await;
        let wire = wire.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let wire = wire.with_context(|| format!("cannot reach {address}"))?;
        let mut link = Self { stream: BufReader::new(wire), scanner: ReplyScanner::default() };
        if !login.auth.is_empty() {
            let words = login.auth.iter().map(String::as_str);
            link.tell(&["AUTH"].into_iter().chain(words).collect::<Vec<_>>()).await?;
        }
        Ok(link)
    }

    /// One command and its reply; an error reply is an error.
    pub(super) async fn tell(&mut self, words: &[&str]) -> anyhow::Result<Vec<u8>> {
        let reply = self.ask(words).await.with_context(|| format!("no reply to {}", words[0]))?;
        match error_in(&reply) {
            Some(error) => bail!("the server answers {} with: {error}", words[0]),
            None => Ok(reply),
        }
    }

    /// One command and its reply, whatever it is.
    pub(super) async fn ask(&mut self, words: &[&str]) -> io::Result<Vec<u8>> {
        self.send(&encode(words)).await?;
        self.reply().await
    }

    pub(super) async fn send(&mut self, commands: &[u8]) -> io::Result<()> {
        self.stream.write_all(commands).await
    }

    pub(super) async fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        loop {
            let bytes = self.stream.fill_buf().await?;
            if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
            }
            let scanned = self.scanner.scan(bytes).map_err(io::Error::other)?;
            let used = match scanned {
                Scanned::Complete(length) => length,
                Scanned::Partial => bytes.len(),
            };
            reply.extend_from_slice(&bytes[..used]);
            self.stream.consume(used);
            if scanned != Scanned::Partial {
                return Ok(reply);
            }
        }
    }
}

async fn connect(address: &Address) -> io::Result<Box<dyn Wire>> {
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}

/// A command as clients send it.
pub(super) fn encode(words: &[&str]) -> Vec<u8> {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let count = format!("*{}\r\n", words.len());
    std::iter::once(count).chain(words).collect::<String>().into_bytes()
}

/// The text of an error reply.
pub(super) fn error_in(reply: &[u8]) -> Option<String> {
    let error = reply.strip_prefix(b"-")?;
    Some(String::from_utf8_lossy(error).trim_end().to_owned())
}

/// Whether the server rejected the command with BUSY.
pub(super) fn is_busy(reply: &[u8]) -> bool {
    reply.starts_with(b"-BUSY ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_errors() {
        assert_eq!(encode(&["GET", "k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
        assert_eq!(error_in(b"-ERR no\r\n").as_deref(), Some("ERR no"));
        assert_eq!(error_in(b"+OK\r\n"), None);
        assert!(is_busy(b"-BUSY Redis is busy\r\n") && !is_busy(b"-BUSYKEY exists\r\n"));
    }
}
