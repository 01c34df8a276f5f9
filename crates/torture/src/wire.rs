//! A raw connection that may break at any moment, which is nothing to panic about.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;
use testkit::{FrameScanner, Reply, encode};

/// How long a patient client waits for an answer; more than all chaos together can take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
const READ_SIZE: usize = 16 * 1024;

pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply. An error of kind `TimedOut` means that there is none, although the connection is alive.
    pub(crate) fn read(&mut self, limit: Duration) -> io::Result<Reply> {
        let deadline = Instant::now() + limit;
        let mut scanner = FrameScanner::default();
        loop {
            if let Some(end) = scanner.end(&self.buffer) {
                let frame: Vec<u8> = self.buffer.drain(..end).collect();
                return Ok(Reply::parse(&frame));
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        // Zero would mean no limit.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; READ_SIZE];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn cmd(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.send(&encode(words))?;
        self.read(PATIENCE)
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Closes it with a reset.
    pub(crate) fn reset(self) {
        // If it is broken already, there is nothing to reset.
        let _ = set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}
