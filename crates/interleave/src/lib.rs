//! Many of the orders in which threads may run, tried by `shuttle`. It knows no time, so there is a clock, which a test
//! lets run; and nothing to talk to, so there is a server that is busy when a test says so.
//!
//! The crates whose threads are tried have a module `sync`, which is these threads, locks and clocks in their unit tests,
//! and the standard library's or tokio's otherwise. A thread that waits for ever is a deadlock, which `shuttle` reports
//! together with what repeats it.
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on has failed")]

mod block_on;
mod clock;
mod notify;
mod server;

use std::sync::Arc;
use std::time::Duration;

pub use block_on::block_on;
pub use clock::{Clock, Condvar, WaitTimeoutResult, now, pause, sleep_until};
pub use notify::Notify;
pub use server::Server;

pub use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
pub use shuttle::sync::{Mutex, MutexGuard};
pub use shuttle::thread;

/// Orders that are tried per scenario.
const ORDERS: usize = 1_000;

/// Plays a scenario in many orders. Waits that would take longer than `longest` never end in it, as if nothing else could
/// be awaited; those that its `end` awaits do.
pub fn try_orders<T>(
    longest: Duration,
    play: impl Fn() -> T + Send + Sync + 'static,
    end: impl Fn(T) + Send + Sync + 'static,
) {
    let one = move || {
        let clock = Clock::start(longest);
        let played = play();
        clock.let_all_end();
        end(played);
        clock.stop();
    };
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    shuttle::Runner::new(shuttle::scheduler::RandomScheduler::new(ORDERS), config).run(one);
}

/// Runs the same in so many threads, each of which is told its number.
pub fn spawn<T: Send + 'static>(
    count: usize,
    run: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<thread::JoinHandle<T>> {
    let run = Arc::new(run);
    let start = |number| {
        let run = Arc::clone(&run);
        thread::spawn(move || run(number))
    };
    (0..count).map(start).collect()
}

/// How many said yes.
pub fn finish(threads: Vec<thread::JoinHandle<bool>>) -> usize {
    threads.into_iter().map(|thread| usize::from(thread.join().expect("its panic was the test's"))).sum()
}
