//! Lets a script move money, and looks for its traces with an iterator.
//!
//! `cargo run -p unbusy --example scripts --features redis/script [URL]`
use redis::{Commands, RedisResult, Script};
use unbusy::Client; // was: use redis::Client;

/// How often money is moved.
pub(crate) const MOVES: u64 = 1_500;

fn main() -> RedisResult<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1/".into());
    run(&url)
}

/// Moves one piece of money from `alice` to `bob`, [`MOVES`] times.
///
/// # Errors
/// Any that the server or the connection gives.
pub(crate) fn run(url: &str) -> RedisResult<()> {
    let script = Script::new(
        "redis.call('DECRBY', KEYS[1], ARGV[1])
         redis.call('SET', 'move:' .. ARGV[2], ARGV[1])
         return redis.call('INCRBY', KEYS[2], ARGV[1])",
    );
    let mut connection = Client::open(url)?.get_connection()?;
    let _: () = connection.mset(&[("alice", MOVES), ("bob", 0)])?;
    for number in 1..=MOVES {
        let bob: u64 =
            script.prepare_invoke().key("alice").key("bob").arg(1).arg(number).invoke(&mut connection)?;
        assert_eq!(bob, number);
    }
    let mut traces = connection.scan_match::<_, String>("move:*")?.collect::<RedisResult<Vec<_>>>()?;
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len() as u64, MOVES);
    Ok(())
}
