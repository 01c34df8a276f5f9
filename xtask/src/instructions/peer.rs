//! The server for counting the library: no real one, so that its version does not matter.

use std::{
    io::{Read, Result, Write},
    net::TcpStream,
};

use testkit::{FrameScanner, ScriptedServer};

pub(super) fn start() -> ScriptedServer {
    // A connection ends in whatever way its client does.
    ScriptedServer::start(|_, stream| drop(serve(stream)))
}

fn serve(mut stream: TcpStream) -> Result<()> {
    let (mut chunk, mut unread) = ([0; 4096], Vec::new());
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        unread.extend_from_slice(&chunk[..count]);
        while let Some(end) = FrameScanner::default().end(&unread) {
            stream.write_all(answer(&unread[..end]))?;
            unread.drain(..end);
        }
    }
}

/// `CONFIG GET` is refused, so that the threshold is the default one.
fn answer(command: &[u8]) -> &'static [u8] {
    match command.split(|&byte| byte == b'\n').nth(2) {
        Some(b"GET\r") => b"$5\r\nvalue\r\n",
        Some(b"CONFIG\r") => b"-NOPERM no\r\n",
        Some(b"PING\r") => b"+PONG\r\n",
        _ => b"+OK\r\n",
    }
}
