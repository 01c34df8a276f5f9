//! Scripts that make a server busy now and then, at random.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{busy_lua, encode};

/// The threshold of a server in a storm: lower than the shortest of its scripts takes.
pub const STORM_THRESHOLD: Duration = Duration::from_millis(10);
/// How long a script runs, and how long the server is left alone, in milliseconds: at least, at most.
const SCRIPT: (u64, u64) = (30, 250);
const PAUSE: (u64, u64) = (0, 300);
/// Between two looks whether the server can be reached.
const RETRY: Duration = Duration::from_millis(2);
/// After an error, such as that this user may not run scripts.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Longer than any script and any pause that a test asks for.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// A thread that makes a server busy at random until it is dropped.
#[derive(Debug)]
pub struct Storm {
    goes_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    /// Begins. The seed determines for how long each script runs and each pause lasts.
    pub fn start(address: &str, seed: u64) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let (address, still) = (address.to_owned(), Arc::clone(&goes_on));
        let thread = thread::spawn(move || storm(&address, seed, || still.load(Ordering::Relaxed)));
        Self { goes_on, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes a server busy at random, for as long as `goes_on` says so. The server need not be there yet.
pub fn storm(address: &str, seed: u64, goes_on: impl Fn() -> bool) {
    let mut chance = Chance::new(seed);
    while goes_on() {
        if let Ok(stream) = TcpStream::connect(address) {
            // A test may close the connection, or take the right to run scripts away.
            let _ = blow(stream, &mut chance, &goes_on);
        }
        thread::sleep(RETRY);
    }
}

/// Runs one script after the other on this connection.
fn blow(mut stream: TcpStream, chance: &mut Chance, goes_on: impl Fn() -> bool) -> io::Result<()> {
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    while goes_on() {
        let millis = chance.between(SCRIPT).to_string();
        stream.write_all(&encode(&["EVAL", busy_lua(), "0", &millis]))?;
        let mut reply = [0; 256];
        match stream.read(&mut reply)? {
            0 => return Ok(()),
            _ if reply[0] == b'-' => thread::sleep(REFUSED_PAUSE),
            _ => thread::sleep(Duration::from_millis(chance.between(PAUSE))),
        }
    }
    Ok(())
}

/// A sequence of numbers that a seed determines (xorshift).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        // The product spreads small seeds over all bits; a state of zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least + 1)
    }
}
