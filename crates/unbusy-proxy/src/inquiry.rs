//! A connection on which a server is asked one question after the other.
//!
//! The proxy asks for what it must know of its server; commands for operators ask for the rest.

use std::io;
use std::time::Duration;

use tokio::io::ReadBuf;
use unbusy_core::resp::{ReplyScanner, Scanned};

use crate::config::Upstream;
use crate::stream::Stream;

/// More than a slow log or a list of ten thousand clients.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InquiryError {
    /// There is no connection.
    #[error("{0}")]
    Unreachable(io::Error),
    /// There is a connection, but the server says nothing on it.
    #[error("no answer within {0:?}")]
    Silent(Duration),
}

/// A connection to a server, for questions; see [`Connector::inquire`](crate::Connector::inquire).
pub struct Inquiry {
    stream: Stream,
}

impl Inquiry {
    pub(crate) const fn on(stream: Stream) -> Self {
        Self { stream }
    }

    /// Sends the password, if there is one, and tells the reply.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn log_in(&mut self, upstream: &Upstream) -> io::Result<Option<Vec<u8>>> {
        let Some(password) = &upstream.password else { return Ok(None) };
        let user = upstream.username.as_deref();
        let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password.as_str()]).collect();
        self.ask(&words).await.map(Some)
    }

    /// Sends a command, and waits for the whole of its reply, however long that takes.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no reply or larger than 16 MiB.
    pub async fn ask(&mut self, words: &[&str]) -> io::Result<Vec<u8>> {
        self.send(words).await?;
        let (mut reply, mut scanner, mut scratch) = (Vec::new(), ReplyScanner::default(), [0; 4096]);
        while reply.len() <= REPLY_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            std::future::poll_fn(|cx| self.stream.poll_read(cx, &mut buffer)).await?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
            }
            match scanner.scan(bytes).map_err(io::Error::other)? {
                Scanned::Complete(length) => {
                    reply.extend_from_slice(&bytes[..length]);
                    return Ok(reply);
                }
                Scanned::Partial => reply.extend_from_slice(bytes),
            }
        }
        Err(io::Error::other("a reply of more than 16 MiB"))
    }

    async fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let request = format!("*{}\r\n{}", words.len(), words.concat());
        let mut written = 0;
        while written < request.len() {
            let rest = &request.as_bytes()[written..];
            written += std::future::poll_fn(|cx| self.stream.poll_write(cx, rest)).await?;
        }
        std::future::poll_fn(|cx| self.stream.poll_flush(cx)).await
    }
}
