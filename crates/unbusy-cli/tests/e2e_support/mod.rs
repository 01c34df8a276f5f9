//! What the end-to-end tests share: the real binary in front of a server, and what the server says of itself.
#![allow(dead_code, reason = "each test binary uses its share")]

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testkit::{Client, Flavor, Proxy, Server};

/// Long enough for anything that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(2);

/// `unbusy proxy` in front of this server.
pub(crate) fn proxy(server: &Server, extra_args: &[&str]) -> Proxy {
    proxy_to(&server.url(), extra_args)
}

/// `unbusy proxy` in front of whatever answers at this URL.
pub(crate) fn proxy_to(url: &str, extra_args: &[&str]) -> Proxy {
    Proxy::start(env!("CARGO_BIN_EXE_unbusy").as_ref(), url, extra_args)
}

/// Runs a scenario on every server, each with the usual threshold of 100 ms, behind a proxy of its own.
pub(crate) fn on_every_server(scenario: impl Fn(&Server, &Proxy)) {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        scenario(&server, &proxy(&server, &[]));
    }
}

/// For tests that measure times: while one holds this, no other that asks for it runs.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that could disturb the next.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something to become true.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// The lines of CLIENT LIST, the asking connection included.
pub(crate) fn client_list(client: &mut Client) -> Vec<String> {
    client.cmd(&["CLIENT", "LIST"]).text().lines().map(Into::into).collect()
}

/// The value of a counter that may not exist yet.
pub(crate) fn counter(client: &mut Client, key: &str) -> usize {
    match client.cmd(&["GET", key]) {
        testkit::Reply::Null => 0,
        reply => reply.text().parse().expect("a counter"),
    }
}

/// Sets a flag when it goes out of scope, so that helper threads end even if the test panics.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The given share of these times is not longer than the result; 1.0 gives the longest.
pub(crate) fn quantile(times: &[Duration], share: f64) -> Duration {
    assert!(!times.is_empty(), "no times");
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Shown with `--nocapture`.
#[expect(clippy::print_stdout, reason = "numbers for those who ask for them")]
pub(crate) fn report(text: &str) {
    println!("{text}");
}
