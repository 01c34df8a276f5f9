//! What a connected client costs that says nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    process,
    rig::{Path, Rig},
};
use crate::interrupt::Interrupt;

/// Resident memory per client, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    pub(super) clients: u32,
    pub(super) haproxy: f64,
    pub(super) unbusy: f64,
}

pub(super) fn measure(rig: &Rig, clients: u32, interrupt: &Interrupt) -> Result<Idle> {
    let per_client = |path| growth(rig, path, clients, interrupt);
    let idle = Idle { clients, haproxy: per_client(Path::Haproxy)?, unbusy: per_client(Path::Unbusy)? };
    let (haproxy, unbusy) = (idle.haproxy / 1024.0, idle.unbusy / 1024.0);
    eprintln!("bench: {clients} idle clients: haproxy {haproxy:.1} KiB each, unbusy {unbusy:.1} KiB each");
    Ok(idle)
}

/// Each client has had one answer, so that it is known to be served.
fn growth(rig: &Rig, path: Path, clients: u32, interrupt: &Interrupt) -> Result<f64> {
    let pid = rig.pid(path);
    drop(greet(rig.port(path))?);
    let before = process::settled_rss(pid)?;
    let mut connected = Vec::new();
    for number in 0..clients {
        interrupt.check()?;
        let client = greet(rig.port(path)).with_context(|| format!("idle client {number} of {clients}"));
        connected.push(client?);
    }
    let after = process::settled_rss(pid)?;
    Ok(after.saturating_sub(before) as f64 / f64::from(clients))
}

fn greet(port: u16) -> Result<TcpStream> {
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut answer = [0; 7];
    client.read_exact(&mut answer)?;
    ensure!(&answer == b"+PONG\r\n", "PING was answered {:?}", String::from_utf8_lossy(&answer));
    Ok(client)
}
