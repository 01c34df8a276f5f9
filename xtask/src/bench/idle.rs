//! What a connected client costs that says nothing.

use anyhow::{Context, Result};

use super::{
    case::Sockets,
    process,
    rig::{DIRECT, Line, Rig},
};
use crate::interrupt::Interrupt;

/// How much resident memory grew per client, in bytes.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) clients: u32,
    pub(super) bytes: Vec<(&'static str, f64)>,
}

pub(super) fn measure(rig: &Rig, clients: u32, interrupt: &Interrupt) -> Result<Idle> {
    let mut bytes = Vec::new();
    for line in rig.lines(Sockets::Tcp).iter().filter(|line| line.name != DIRECT) {
        let grown = growth(line, clients, interrupt).with_context(|| line.name)?;
        eprintln!("bench: {clients} idle clients: {} takes {:.1} KiB for each", line.name, grown / 1024.0);
        bytes.push((line.name, grown));
    }
    Ok(Idle { clients, bytes })
}

/// Each client has had one answer, so that it is known to be served.
fn growth(line: &Line, clients: u32, interrupt: &Interrupt) -> Result<f64> {
    drop(line.address.greet()?);
    let pids = line.pids();
    let before = process::settled_rss(&pids)?;
    let mut connected = Vec::new();
    for number in 0..clients {
        interrupt.check()?;
        let client = line.address.greet().with_context(|| format!("idle client {number} of {clients}"));
        connected.push(client?);
    }
    let after = process::settled_rss(&pids)?;
    Ok(after.saturating_sub(before) as f64 / f64::from(clients))
}
