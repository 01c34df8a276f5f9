//! Whatever a busy server rejects of a pipeline: commands are executed once and in order, and their replies are theirs.
//!
//! The peer is made up, since a real server cannot be told which commands to reject.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use redis::{ConnectionLike, RedisResult, Value};
use unbusy::Policy;
use unbusy_core::resp::{RequestScanner, args};

const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of: BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

/// A server that executes of each batch so many commands, rejects so many, executes so many, and so on.
struct Peer {
    pattern: Vec<usize>,
    executed: Vec<usize>,
    batches: Vec<usize>,
}

impl Peer {
    /// How many commands from here on meet the same fate, and whether that is to be executed.
    fn fates(&mut self, commands: usize) -> Vec<bool> {
        let (mut fates, mut executes) = (Vec::new(), true);
        while fates.len() < commands {
            let run = if self.pattern.is_empty() { commands } else { self.pattern.remove(0) };
            fates.extend(std::iter::repeat_n(executes, run.min(commands - fates.len())));
            executes = !executes;
        }
        fates.truncate(commands);
        fates
    }

    fn run(&mut self, words: &[&[u8]], executes: bool) -> Value {
        if !executes {
            return redis::parse_redis_value(BUSY.as_bytes()).unwrap();
        }
        if words[0] == b"ECHO" {
            let number = std::str::from_utf8(words[1]).unwrap().parse().unwrap();
            self.executed.push(number);
            return Value::Int(i64::try_from(number).unwrap());
        }
        Value::Okay
    }
}

impl ConnectionLike for Peer {
    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        Ok(self.req_packed_commands(packed, 0, 1)?.remove(0))
    }

    fn req_packed_commands(&mut self, packed: &[u8], offset: usize, _: usize) -> RedisResult<Vec<Value>> {
        let commands = commands(packed);
        self.batches.push(packed.len());
        let fates = self.fates(commands.len());
        if offset > 0 {
            if fates.contains(&false) {
                return Ok(vec![redis::parse_redis_value(ABORTED.as_bytes()).unwrap()]);
            }
            let body = &commands[1..commands.len() - 1];
            return Ok(vec![Value::Array(body.iter().map(|words| self.run(words, true)).collect())]);
        }
        Ok(commands.iter().zip(fates).map(|(words, executes)| self.run(words, executes)).collect())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

fn commands(packed: &[u8]) -> Vec<Vec<&[u8]>> {
    let (mut commands, mut at) = (Vec::new(), 0);
    while at < packed.len() {
        let length = RequestScanner::default().scan(&packed[at..]).unwrap().unwrap();
        commands.push(args(&packed[at..at + length]).collect());
        at += length;
    }
    commands
}

/// A connection to a server of its own: gates are shared by address.
fn connection(pattern: Vec<usize>, policy: Policy) -> unbusy::Connection<Peer> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let url = format!("redis://made-up-{}", NUMBER.fetch_add(1, Relaxed));
    let policy = policy
        .threshold(Duration::from_secs(5))
        .intervals(Duration::from_micros(100), Duration::from_millis(1));
    let peer = Peer { pattern, executed: Vec::new(), batches: Vec::new() };
    unbusy::Client::open(url).unwrap().with_policy(&policy).wrap(peer)
}

fn pipeline(commands: usize, bytes: usize, special: &[usize]) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    for number in 0..commands {
        pipeline.cmd("ECHO").arg(number).arg("x".repeat(bytes));
        if special.contains(&number) {
            pipeline.cmd("SELECT").arg(0).ignore();
        }
    }
    pipeline
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// One run of rejections in each batch, as the lease makes sure of.
    #[test]
    fn pipelines_are_executed_once_and_in_order(
        count in 1_usize..200,
        bytes in prop_oneof![Just(1_usize), Just(1_000), Just(40_000)],
        special in prop::collection::vec(0_usize..200, 0..4),
        rejections in prop::collection::vec((0_usize..20, 1_usize..400), 0..12),
        leased in any::<bool>(),
    ) {
        let mut connection = connection(Vec::new(), Policy::default());
        if leased {
            redis::cmd("PING").exec(&mut connection).unwrap();
        }
        // Behind the rejected ones of a batch no more is executed in it.
        let pattern = rejections.iter().flat_map(|(executed, _)| [*executed, usize::MAX]).collect();
        connection.get_mut().pattern = pattern;
        let replies: Vec<usize> = pipeline(count, bytes, &special).query(&mut connection).unwrap();
        let peer = connection.into_inner();
        prop_assert_eq!(&peer.executed, &(0..count).collect::<Vec<_>>());
        prop_assert_eq!(replies, peer.executed);
        let window = 32 * 1024;
        prop_assert!(peer.batches.iter().all(|length| *length <= window || *length < bytes + 100), "{:?}", peer.batches);
    }

    /// Executed behind rejected: nothing is sent again, and the error tells which were not executed.
    #[test]
    fn a_hole_is_not_filled(count in 4_usize..60, executed in 0_usize..20, rejected in 1_usize..20) {
        let mut connection = connection(vec![1], Policy::default());
        redis::cmd("ECHO").arg(1_000).exec(&mut connection).unwrap();
        let behind = executed + rejected < count;
        connection.get_mut().pattern = vec![executed, rejected, usize::MAX];
        let replies: Vec<RedisResult<usize>> =
            pipeline(count, 1, &[]).ignore_errors().query(&mut connection).unwrap();
        let peer = connection.into_inner();
        for (number, reply) in replies.iter().enumerate() {
            let times = peer.executed.iter().filter(|other| **other == number).count();
            prop_assert_eq!(times, usize::from(reply.is_ok()), "command {}", number);
        }
        let failed = replies.iter().filter(|reply| reply.is_err()).count();
        prop_assert_eq!(failed, if behind { rejected } else { 0 });
        prop_assert!(peer.executed[1..].is_sorted());
    }

    #[test]
    fn relaxed_pipelines_are_executed_once(
        count in 1_usize..200,
        pattern in prop::collection::vec(0_usize..20, 0..20),
    ) {
        let mut connection = connection(pattern, Policy::default().relaxed());
        let replies: Vec<usize> = pipeline(count, 1, &[]).query(&mut connection).unwrap();
        let mut peer = connection.into_inner();
        peer.executed.sort_unstable();
        prop_assert_eq!(&peer.executed, &(0..count).collect::<Vec<_>>());
        prop_assert_eq!(replies, peer.executed, "each reply is that of its command");
    }

    #[test]
    fn transactions_are_executed_once_and_whole(
        count in 1_usize..50,
        pattern in prop::collection::vec(0_usize..60, 0..12),
    ) {
        let mut connection = connection(pattern, Policy::default());
        let replies: Vec<usize> = pipeline(count, 1, &[]).atomic().query(&mut connection).unwrap();
        let peer = connection.into_inner();
        prop_assert_eq!(&peer.executed, &(0..count).collect::<Vec<_>>());
        prop_assert_eq!(replies, peer.executed);
    }

    #[test]
    fn single_commands_are_executed_once(pattern in prop::collection::vec(0_usize..5, 0..20)) {
        let mut connection = connection(pattern, Policy::default());
        for number in 0..20 {
            prop_assert_eq!(redis::cmd("ECHO").arg(number).query::<usize>(&mut connection).unwrap(), number);
        }
        prop_assert_eq!(connection.into_inner().executed, (0..20).collect::<Vec<_>>());
    }
}

/// A server that answers PING, and then is busy again before anything else.
struct Turning;

impl ConnectionLike for Turning {
    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        let pings = commands(packed)[0][0] == b"PING";
        Ok(if pings { Value::Okay } else { redis::parse_redis_value(BUSY.as_bytes()).unwrap() })
    }

    fn req_packed_commands(&mut self, _: &[u8], _: usize, _: usize) -> RedisResult<Vec<Value>> {
        unreachable!("nobody sends a pipeline")
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// The budget counts from the first BUSY, whatever PINGs get through.
#[test]
fn a_ping_does_not_begin_the_budget_anew() {
    let budget = Duration::from_millis(200);
    let policy = Policy::default()
        .max_wait(budget)
        .threshold(Duration::from_secs(5))
        .intervals(Duration::from_millis(1), Duration::from_millis(1));
    let mut connection = unbusy::Client::open("redis://turning").unwrap().with_policy(&policy).wrap(Turning);
    let begin = Instant::now();
    let error = redis::cmd("BLPOP").arg("jobs").arg(0).query::<Value>(&mut connection).unwrap_err();
    assert_eq!(error.code(), Some("BUSY"));
    assert!(begin.elapsed() >= budget, "{:?}", begin.elapsed());
}
