//! What a quiet server would have answered and executed.

use std::time::Duration;

use unbusy_core::Time;

use super::server::{Server, Settings};
use super::{BUSY, Rng, encode};

/// What one connection should have seen.
#[derive(Debug)]
pub(crate) struct Quiet {
    pub(crate) replies: Vec<u8>,
    /// Database and words of each executed command.
    pub(crate) executed: Vec<(u32, Vec<String>)>,
    /// Transactions that the client was told to start over.
    pub(crate) nulls: usize,
    /// Scripts whose BUSY reached the client, since nobody could tell whether it was their own.
    pub(crate) doubts: usize,
}

/// Gives a quiet server the commands of one connection, one by one. `seen` is what the client got: where it shows the
/// null reply of EXEC under WATCH, the transaction is discarded, as if a watched key had changed; where it shows BUSY as a
/// script's answer, the script was not executed.
pub(crate) fn quiet(commands: &[Vec<String>], seen: &[u8]) -> Quiet {
    let mut server = Server::new(Settings { quiet: true, ..Settings::default() }, Rng(0));
    let conn = server.connect();
    let mut now = Time::ZERO;
    let (mut replies, mut nulls, mut doubts) = (Vec::new(), 0, 0);
    for words in commands {
        let seen = seen.get(replies.len()..).unwrap_or_default();
        if words[0] == "EVAL" && seen.starts_with(BUSY.as_bytes()) {
            doubts += 1;
            replies.extend_from_slice(BUSY.as_bytes());
            continue;
        }
        let null: &[u8] = if server.is_resp3(conn) { b"_\r\n" } else { b"*-1\r\n" };
        let told = seen.starts_with(null);
        server.force_null = told && server.watches(conn) && words[0].eq_ignore_ascii_case("EXEC");
        nulls += usize::from(server.force_null);
        server.receive(conn, &encode(words), now);
        while server.next() != Time::NEVER {
            now = server.next();
            server.advance(now);
        }
        now = now + Duration::from_micros(1);
        replies.extend(server.take_sent().into_iter().flat_map(|(_, bytes)| bytes));
    }
    let executed = server.log.into_iter().map(|entry| (entry.db, entry.words)).collect();
    Quiet { replies, executed, nulls, doubts }
}
