//! Order: what one connection sends is executed in that order, at full speed, while scripts just longer and just
//! shorter than the threshold come and go. This is the hardest case: BUSY begins and ends under a pipeline.
//!
//! `UNBUSY_TEST_TRIALS=25` gives the full run.
mod e2e_support;

use std::{
    cell::Cell,
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use e2e_support::{StopOnDrop, counter, proxy, report};
use testkit::{Client, Flavor, Server, busy_lua, encode, scripts_on_the_brink};
use unbusy_core::Policy;

const COMMANDS: usize = 150_000;
const CONNECTIONS: usize = 8;
const USUAL_TRIALS: usize = 3;
const KEY: &str = "k";

#[test]
fn strict_at_20_ms_on_redis_6_2() {
    strict(Flavor::Redis62, Duration::from_millis(20));
}

#[test]
fn strict_at_20_ms_on_redis_7_0() {
    strict(Flavor::Redis70, Duration::from_millis(20));
}

#[test]
fn strict_at_20_ms_on_valkey_9_1() {
    strict(Flavor::Valkey91, Duration::from_millis(20));
}

#[test]
fn strict_at_200_ms_on_redis_6_2() {
    strict(Flavor::Redis62, Duration::from_millis(200));
}

#[test]
fn strict_at_200_ms_on_redis_7_0() {
    strict(Flavor::Redis70, Duration::from_millis(200));
}

#[test]
fn strict_at_200_ms_on_valkey_9_1() {
    strict(Flavor::Valkey91, Duration::from_millis(200));
}

#[test]
fn relaxed_at_20_ms() {
    for flavor in Flavor::ALL {
        relaxed(flavor, Duration::from_millis(20));
    }
}

#[test]
fn relaxed_at_200_ms() {
    for flavor in Flavor::ALL {
        relaxed(flavor, Duration::from_millis(200));
    }
}

#[test]
fn several_connections_at_once() {
    for flavor in Flavor::ALL {
        several_connections(&Setup::start(flavor, Duration::from_millis(20)));
    }
}

/// They read a connection in pieces of 16 KiB, not all that is there at once.
#[test]
fn several_connections_on_valkey_with_io_threads() {
    // Their first hook only begins to read.
    let threshold = Duration::from_millis(100);
    let builder = Server::builder(Flavor::Valkey91).threshold(threshold);
    let server = builder.arg("--io-threads").arg("2").arg("--io-threads-always-active").arg("yes").start();
    // A script on Valkey counts processor time, and the thread uses as much beside it.
    several_connections(&Setup { scripts: 2 * threshold, ..Setup::of(server, threshold) });
}

/// The control: without unbusy, commands are executed behind rejected ones.
#[test]
fn without_a_proxy_there_are_holes() {
    let setup = Setup::start(Flavor::Redis70, Duration::from_millis(200));
    let holes = (1..=USUAL_TRIALS).filter(|&trial| {
        let replies = setup.disturbed(trial, || stream(setup.server.address(), KEY, COMMANDS));
        let executed = |reply: &Vec<u8>| number(reply).is_ok();
        replies.iter().skip_while(|reply| executed(reply)).any(executed)
    });
    let holes = holes.count();
    assert!(holes > 0, "the disturbance does not disturb");
}

/// What the windows rest on (F3 in ARCHITECTURE.md): so much is rejected as a whole or executed as a whole, also where a reading is
/// shorter because a large argument ends, and where the connection is new. Of twice as much the rest is executed behind the rejected.
#[test]
fn a_busy_server_reads_a_window_at_once() {
    const TRIALS: u64 = 8;
    let (first, window) = (Policy::default().window(false), Policy::default().window(true));
    let set = encode(&["SET", "k", "v"]);
    let fill = |bytes: usize| set.repeat(bytes / set.len());
    let large = encode(&[b"SET".as_slice(), b"k", &vec![b'x'; 32 * 1024]]);
    let mixed = [set.clone(), large.clone(), fill(window - large.len() - set.len())].concat();
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).threshold(Duration::from_millis(40)).start();
        for (accepted, bytes) in [(false, &fill(first)), (true, &fill(window)), (true, &mixed)] {
            for trial in 0..TRIALS {
                let torn = is_torn(&server, accepted, bytes, trial);
                assert!(!torn, "{flavor}, {} bytes, trial {trial}", bytes.len());
            }
        }
        assert!(
            (0..100).any(|trial| is_torn(&server, true, &fill(2 * window), trial)),
            "{flavor}: never torn"
        );
    }
}

/// Whether a server on which a script ends as soon as it is busy, or a little later, rejects some of these and executes others.
fn is_torn(server: &Server, accepted: bool, bytes: &[u8], trial: u64) -> bool {
    let commands = bytes.windows(3).filter(|bytes| bytes == b"SET").count();
    let (mut caller, mut client) = (server.client(), accepted.then(|| server.client()));
    if let Some(client) = &mut client {
        assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    }
    caller.send_cmd(&["EVAL", busy_lua(), "0", &(40 + trial % 4).to_string()]);
    thread::sleep(Duration::from_millis(5));
    let replies = client.unwrap_or_else(|| server.client()).exchange(bytes, commands);
    assert_eq!(caller.read_reply().integer(), 1);
    let rejected = replies.iter().filter(|reply| reply.starts_with(b"-BUSY")).count();
    (1..commands).contains(&rejected)
}

/// One connection: the replies are 1, 2, 3 …
fn strict(flavor: Flavor, threshold: Duration) {
    let setup = Setup::start(flavor, threshold);
    let proxy = proxy(&setup.server, &[]);
    for trial in setup.trials() {
        let replies = setup.disturbed(trial, || stream(proxy.address(), KEY, COMMANDS));
        assert_consecutive(&replies, &format!("{flavor}, {threshold:?}, trial {trial}"));
        setup.assert_counter(KEY, COMMANDS);
    }
}

/// One connection that has given up its order: each number comes once.
fn relaxed(flavor: Flavor, threshold: Duration) {
    let setup = Setup::start(flavor, threshold);
    let proxy = proxy(&setup.server, &["--ordering", "relaxed"]);
    for trial in setup.trials() {
        let mut replies = setup.disturbed(trial, || stream(proxy.address(), KEY, COMMANDS));
        // Errors, duplicates and gaps all show as a break in the sorted numbers.
        replies.sort_unstable_by(|a, b| number(a).cmp(&number(b)));
        assert_consecutive(&replies, &format!("{flavor}, relaxed, {threshold:?}, trial {trial}"));
        setup.assert_counter(KEY, COMMANDS);
    }
}

/// Several connections with a counter each, all behind one gate.
fn several_connections(setup: &Setup) {
    let (flavor, threshold) = (setup.server.flavor(), setup.threshold);
    let proxy = proxy(&setup.server, &[]);
    let each = COMMANDS / CONNECTIONS;
    let keys: Vec<_> = (0..CONNECTIONS).map(|n| format!("{KEY}{n}")).collect();
    for trial in setup.trials() {
        let all = setup.disturbed(trial, || {
            thread::scope(|scope| {
                let streams: Vec<_> =
                    keys.iter().map(|key| scope.spawn(|| stream(proxy.address(), key, each))).collect();
                streams.into_iter().map(|stream| stream.join().expect("a stream")).collect::<Vec<_>>()
            })
        });
        for (key, replies) in keys.iter().zip(&all) {
            assert_consecutive(replies, &format!("{flavor}, {threshold:?}, trial {trial}, {key}"));
            setup.assert_counter(key, each);
        }
    }
}

fn wanted_trials() -> usize {
    let text = env::var("UNBUSY_TEST_TRIALS").ok().filter(|text| !text.is_empty());
    text.map_or(USUAL_TRIALS, |text| text.parse().expect("UNBUSY_TEST_TRIALS: a number"))
}

struct Setup {
    server: Server,
    threshold: Duration,
    /// What scripts run for is stated in thousandths of this.
    scripts: Duration,
    /// In how many trials something was rejected.
    struck: Cell<usize>,
}

impl Setup {
    fn start(flavor: Flavor, threshold: Duration) -> Self {
        Self::of(Server::builder(flavor).threshold(threshold).start(), threshold)
    }

    const fn of(server: Server, threshold: Duration) -> Self {
        Self { server, threshold, scripts: threshold, struck: Cell::new(0) }
    }

    /// The trials to do, until something was rejected in as many as are wanted: another has shown nothing. On a loaded
    /// machine the stream can be through between two scripts.
    fn trials(&self) -> impl Iterator<Item = usize> {
        let wanted = wanted_trials();
        (1..).take_while(move |trial| {
            let struck = self.struck.get();
            let told = format!(
                "{}, {:?}: BUSY in {struck} of {} trials",
                self.server.flavor(),
                self.threshold,
                trial - 1
            );
            assert!(*trial <= 2 * wanted || struck == wanted, "{told}");
            if struck == wanted {
                report(&told);
            }
            struck < wanted
        })
    }

    /// Does the work on an empty data set while scripts, sent past the proxy, make the server busy again and again.
    fn disturbed<T>(&self, trial: usize, work: impl FnOnce() -> T) -> T {
        let (server, unit) = (&self.server, self.scripts);
        let mut client = server.client();
        assert!(client.cmd(&["FLUSHALL"]).is_ok());
        let before = server.rejections();
        let stop = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            scope.spawn(|| {
                let goes_on = || !stop.load(Ordering::Relaxed);
                scripts_on_the_brink(&mut server.client(), unit, trial as u64, goes_on);
            });
            work()
        });
        self.struck.update(|count| count + usize::from(server.rejections() > before));
        result
    }

    fn assert_counter(&self, key: &str, commands: usize) {
        assert_eq!(counter(&mut self.server.client(), key), commands, "the counter at the server");
    }
}

/// Sends INCRs as fast as they are taken, reads at the same time, and gives back the replies.
fn stream(address: &str, key: &str, commands: usize) -> Vec<Vec<u8>> {
    let mut client = Client::connect(address);
    client.exchange(&encode(&["INCR", key]).repeat(commands), commands)
}

fn assert_consecutive(replies: &[Vec<u8>], run: &str) {
    let wrong = (1..).zip(replies).find(|(expected, reply)| number(reply) != Ok(*expected));
    let Some((expected, _)) = wrong else { return };
    let around = &replies[expected.saturating_sub(3) as usize..replies.len().min(expected as usize + 5)];
    let around: Vec<_> = around.iter().map(|reply| reply.escape_ascii().to_string()).collect();
    panic!(
        "{run}: reply {expected} of {} is wrong; from two before it: {around:#?}\n{}",
        replies.len(),
        errors(replies)
    );
}

/// The number in an integer reply, or else the whole reply.
fn number(reply: &[u8]) -> Result<u64, &[u8]> {
    let digits = reply.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n")).ok_or(reply)?;
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(reply)
}

/// How often each error came, for messages.
fn errors(replies: &[Vec<u8>]) -> String {
    let mut counts = BTreeMap::new();
    for error in replies.iter().filter_map(|reply| number(reply).err()) {
        *counts.entry(error.escape_ascii().to_string()).or_insert(0) += 1;
    }
    format!("errors: {counts:#?}")
}
