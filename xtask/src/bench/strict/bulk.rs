//! Loading data as `redis-cli --pipe` does: commands go out on one connection without waiting, and replies are read beside that.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::interrupt::Interrupt;

const OK: &[u8] = b"+OK\r\n";
/// Keys that are written, over and over.
const KEYS: usize = 1_000;
/// How often a silent line is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A line that is silent for so long is broken.
const SILENCE: Duration = Duration::from_secs(20);

/// Commands to load, so large in all as wanted.
pub(super) struct Bulk {
    block: Vec<u8>,
    blocks: usize,
}

impl Bulk {
    pub(super) fn new(value_bytes: usize, bytes: usize) -> Self {
        let value = "v".repeat(value_bytes);
        let set = |key| format!("*3\r\n$3\r\nSET\r\n$7\r\nkey:{key:03}\r\n${value_bytes}\r\n{value}\r\n");
        let block = (0..KEYS).map(set).collect::<String>().into_bytes();
        Self { blocks: bytes.div_ceil(block.len()), block }
    }

    /// A tenth of it, for warming up.
    pub(super) fn tenth(&self) -> Self {
        Self { block: self.block.clone(), blocks: self.blocks.div_ceil(10) }
    }

    fn commands(&self) -> usize {
        self.blocks * KEYS
    }

    /// Commands per second.
    pub(super) fn load(&self, address: &str, interrupt: &Interrupt) -> Result<f64> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        let start = Instant::now();
        thread::scope(|scope| {
            let writer = scope.spawn(|| (0..self.blocks).try_for_each(|_| (&stream).write_all(&self.block)));
            let read = self.read_replies(&stream, interrupt);
            if read.is_err() {
                // The writer may wait for room that never comes.
                let _ = stream.shutdown(Shutdown::Both);
            }
            let written = writer.join().expect("the writer does not panic");
            read?;
            written.context("cannot send")
        })?;
        Ok(self.commands() as f64 / start.elapsed().as_secs_f64())
    }

    fn read_replies(&self, mut stream: &TcpStream, interrupt: &Interrupt) -> Result<()> {
        let (mut chunk, mut heard) = (vec![0; 64 * 1024], Instant::now());
        let mut left = self.commands() * OK.len();
        while left > 0 {
            match stream.read(&mut chunk) {
                Ok(0) => bail!("the connection was closed"),
                Ok(count) => {
                    let text = &chunk[..count];
                    ensure!(!text.contains(&b'-'), "an error came: {}", String::from_utf8_lossy(text));
                    left = left.saturating_sub(count);
                    heard = Instant::now();
                }
                Err(error) if is_pause(&error) => {
                    ensure!(heard.elapsed() < SILENCE, "nothing came for {SILENCE:?}");
                    interrupt.check()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        interrupt.check()
    }
}

/// Nothing has come yet, or a signal has.
fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
