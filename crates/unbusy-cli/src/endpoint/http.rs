//! The little of HTTP that a question to an admin endpoint needs.
//!
//! It is version 1.0, in which a body ends with its connection: there are no chunks, and nothing to keep alive.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use unbusy_proxy::Address;

/// Of the status and all headers, each a line.
const HEAD_LINES_MAX: usize = 100;
const HEAD_LINE_BYTES_MAX: u64 = 8 * 1024;

/// An answer of which the head has come.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: BufReader<TcpStream>,
}

pub(super) async fn get(address: &Address, path: &str) -> io::Result<Response> {
    let Address::Tcp { host, port } = address else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut body = BufReader::new(stream);
    let status = status(&line(&mut body, HEAD_LINE_BYTES_MAX).await?)?;
    for _ in 0..HEAD_LINES_MAX {
        if line(&mut body, HEAD_LINE_BYTES_MAX).await?.is_empty() {
            return Ok(Response { status, body });
        }
    }
    Err(io::Error::other("too many headers"))
}

/// One line without its end; of so many bytes at most.
pub(super) async fn line(reader: &mut (impl AsyncBufRead + Unpin), bytes_max: u64) -> io::Result<String> {
    let mut line = String::new();
    let count = reader.take(bytes_max).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(text) => Ok(text.trim_end_matches('\r').to_owned()),
        None if count as u64 == bytes_max => Err(io::Error::other("a line that is too long")),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
    }
}

fn status(line: &str) -> io::Result<u16> {
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| io::Error::other("what answers there speaks no HTTP; is it a proxy's --admin?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_an_answer() {
        assert_eq!(status("HTTP/1.1 200 OK").expect("a status"), 200);
        assert_eq!(status("HTTP/1.0 503").expect("a status"), 503);
        for wrong in ["", "-ERR wrong number of arguments for 'get' command", "HTTP/1.1", "HTTP/1.1 x"] {
            assert!(status(wrong).is_err(), "{wrong}");
        }
    }
}
