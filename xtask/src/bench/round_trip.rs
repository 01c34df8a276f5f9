//! How long a single client waits. redis-benchmark tells that only in steps of 8 µs.

use std::{
    io::{Read, Write},
    time::Instant,
};

use anyhow::{Result, ensure};

use super::{address::Address, spread::Spread};
use crate::interrupt::Interrupt;

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$12\r\nnot a key at\r\n";
const NULL: &[u8] = b"$-1\r\n";

/// The median of so many round trips, in microseconds.
pub(super) fn measure(address: &Address, count: u32, interrupt: &Interrupt) -> Result<f64> {
    let mut stream = address.greet()?;
    let mut reply = [0; NULL.len()];
    let mut trips = Vec::new();
    for number in 0..count {
        if number % 1024 == 0 {
            interrupt.check()?;
        }
        let start = Instant::now();
        stream.write_all(GET)?;
        stream.read_exact(&mut reply)?;
        trips.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(reply == *NULL, "GET was answered {:?}", String::from_utf8_lossy(&reply));
    }
    Ok(Spread::of(trips).median)
}
