//! Scripts that make a server busy.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{Client, encode};

const POLL: Duration = Duration::from_millis(2);
const BUSY_LIMIT: Duration = Duration::from_secs(20);

/// A Lua script that spins for `ARGV[1]` milliseconds by the server's clock and answers 1; with a key it does
/// `INCR KEYS[1]` at the end and answers its value.
///
/// The write comes last because a script that has written cannot be killed any more.
pub fn busy_lua() -> &'static str {
    // Redis 6.2 refuses a write after the random command TIME unless effects are replicated; 7.0 always does that.
    // In Valkey TIME stands still in a script until the threshold, but there is a clock of the processor time used,
    // which is never ahead of it.
    "if redis.replicate_commands then redis.replicate_commands() end \
     local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end \
     local os = rawget(_G, 'os') \
     local function used() return os and os.clock() or 0 end \
     local stop, most = now() + tonumber(ARGV[1]) * 1000, used() + tonumber(ARGV[1]) / 1000 \
     while now() < stop and used() < most do end \
     if KEYS[1] then return redis.call('INCR', KEYS[1]) end \
     return 1"
}

/// A script that keeps the server busy, sent on a connection of its own.
#[derive(Debug)]
pub struct BusyScript {
    reader: JoinHandle<(Vec<u8>, Instant)>,
}

impl BusyScript {
    /// Sends [`busy_lua`], to run for `duration`.
    pub fn start(address: &str, duration: Duration) -> Self {
        Self::send(address, busy_lua(), duration, &[])
    }

    /// Sends a script made from [`busy_lua`], to run for `duration`.
    pub fn start_lua(address: &str, lua: &str, duration: Duration) -> Self {
        Self::send(address, lua, duration, &[])
    }

    /// Sends a script that runs for 20 rounds of some 40 ms, in each of which the server looks at nobody until the end, as when a
    /// script calls slow commands.
    pub fn start_silent(address: &str) -> Self {
        // One call that is slow by itself, then as many instructions as the server needs to look around.
        const SILENT: &str = "local text = string.rep('a', 3500) \
             for round = 1, 20 do string.find(text, '^.-.-b') for i = 1, 300000 do end end \
             return 1";
        Self::send(address, SILENT, Duration::ZERO, &[])
    }

    /// Sends [`busy_lua`], to run for `duration` and then to INCR `key`.
    pub fn start_with_key(address: &str, duration: Duration, key: &str) -> Self {
        Self::send(address, busy_lua(), duration, &[key])
    }

    fn send(address: &str, lua: &str, duration: Duration, keys: &[&str]) -> Self {
        let millis = duration.as_millis().to_string();
        let count = keys.len().to_string();
        let words = [&["EVAL", lua, &count], keys, &[&millis]].concat();
        let mut client = Client::connect(address);
        client.set_timeout(duration + BUSY_LIMIT);
        client.send(&encode(&words));
        let reader = thread::spawn(move || (client.read_frame(), Instant::now()));
        Self { reader }
    }

    /// Waits until the server at `address` answers BUSY; panics if the script ends before that.
    pub fn wait_until_busy(&self, address: &str) {
        poll_until_busy(address, || !self.reader.is_finished());
    }

    /// Waits for the script's reply: its raw bytes and when they came.
    pub fn join(self) -> (Vec<u8>, Instant) {
        self.reader.join().expect("the script's connection")
    }
}

/// Waits until the server at `address` answers BUSY to a PING, whoever made it so.
pub fn wait_until_busy(address: &str) {
    poll_until_busy(address, || true);
}

fn poll_until_busy(address: &str, hope: impl Fn() -> bool) {
    let mut client = Client::connect(address);
    let deadline = Instant::now() + BUSY_LIMIT;
    while !client.cmd(&["PING"]).is_busy() {
        assert!(hope(), "the script ended and {address} never answered BUSY");
        assert!(Instant::now() < deadline, "{address} did not become busy within {BUSY_LIMIT:?}");
        thread::sleep(POLL);
    }
}
