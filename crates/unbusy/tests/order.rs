//! Pipelines keep their order and have no holes while BUSY begins and ends under them.
mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Flavor, Server, scripts_on_the_brink};

const THRESHOLD: Duration = Duration::from_millis(100);
const TIME: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 6;
/// Just less than 32 KiB together, and soon executed, so that most of the time a pipeline waits to be read.
const COMMANDS: u64 = 30;
const KEY_BYTES: usize = 1000;

/// The I/O threads of Valkey read 16 KiB of a connection at a time, also between the hooks of a script. On a server without
/// them a pipeline of this size is one piece.
#[test]
fn pipelines_have_no_holes_with_io_threads() {
    let builder = Server::builder(Flavor::Valkey91).threshold(THRESHOLD);
    let server = builder.arg("--io-threads").arg("2").arg("--io-threads-always-active").arg("yes").start();
    let over = AtomicBool::new(false);
    let over = &over;
    let (server, goes_on) = (&server, move || !over.load(Ordering::Relaxed));
    thread::scope(|scope| {
        // Valkey counts processor time, and the thread uses as much beside the script.
        scope.spawn(move || scripts_on_the_brink(&mut server.client(), 2 * THRESHOLD, 1, goes_on));
        let clients: Vec<_> = (0..CONNECTIONS).map(|at| scope.spawn(move || count_up(server, at))).collect();
        let outcomes: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            outcome.expect("no hole");
        }
    });
    assert!(server.rejections() > 0, "BUSY never struck");
}

fn count_up(server: &Server, at: usize) {
    let client = common::client(server);
    let mut connection = client.get_connection().expect("a connection");
    let mut pipeline = redis::pipe();
    (0..COMMANDS).for_each(|_| _ = pipeline.incr(format!("{at:0KEY_BYTES$}"), 1));
    let (mut count, start) = (0, Instant::now());
    while start.elapsed() < TIME {
        let numbers: Vec<u64> = pipeline.query(&mut connection).expect("no BUSY");
        assert!(numbers.into_iter().eq(count + 1..=count + COMMANDS), "connection {at} behind {count}");
        count += COMMANDS;
    }
}
