//! What a quiet server would have answered and executed.

use std::time::Duration;

use unbusy_core::Time;

use crate::server::{Executed, Server, Settings};
use crate::world::World;
use crate::{BUSY, Rng, encode};

/// What one connection should have seen.
#[derive(Debug)]
pub struct Quiet {
    /// The server's replies.
    pub replies: Vec<u8>,
    /// Database and words of each executed command.
    pub executed: Vec<(u32, Vec<String>)>,
    /// Transactions that the client was told to start over.
    pub nulls: usize,
    /// Scripts whose BUSY reached the client, since nobody could tell whether it was their own.
    pub doubts: usize,
}

/// Gives a quiet server the commands of one connection, one by one. `seen` is what the client got: where it shows the
/// null reply of EXEC under WATCH, the transaction is discarded, as if a watched key had changed; where it shows BUSY as a
/// script's answer, the script was not executed.
pub fn quiet(commands: &[Vec<String>], seen: &[u8]) -> Quiet {
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
        server.time_out(conn, now);
        now = now + Duration::from_micros(1);
        replies.extend(server.take_sent().into_iter().flat_map(|(_, bytes)| bytes));
    }
    let executed = server.log.into_iter().filter(Executed::is_command);
    let executed = executed.map(|entry| (entry.db, entry.words)).collect();
    Quiet { replies, executed, nulls, doubts }
}

/// What a client's connection executed, without PING: the session asks with it where a script may have run, and before
/// a large first command.
pub fn executed(world: &World, client: usize) -> Vec<(u32, Vec<String>)> {
    world.executed(client).into_iter().filter(|(_, words)| words[0] != "PING").collect()
}

/// Compares what a client saw and had executed with a quiet server.
///
/// # Errors
/// When they differ.
pub fn like_quiet(world: &World, client: usize, commands: &[Vec<String>]) -> Result<Quiet, String> {
    let pair = &world.pairs[client];
    let mut expected = quiet(commands, &pair.replies);
    if let Some(error) = pair.error {
        return Err(format!("client {client}: {error}"));
    }
    if pair.replies != expected.replies {
        let difference = difference(&pair.replies, &expected.replies);
        return Err(format!("client {client} {difference}"));
    }
    let mut executed = executed(world, client).into_iter().peekable();
    let wanted = expected.executed.iter().filter(|(_, words)| words[0] != "PING");
    for (at, wanted) in wanted.enumerate() {
        if executed.next_if_eq(wanted).is_none() {
            // Where the client wants no replies, the BUSY of a script that may have run does not show.
            let next = executed.peek();
            if wanted.1[0] != "EVAL" {
                return Err(format!("client {client}, command {at}: {next:?}, not {wanted:?}"));
            }
            expected.doubts += 1;
        }
    }
    match executed.next() {
        None => Ok(expected),
        Some(more) => Err(format!("client {client}: {more:?} was executed, too")),
    }
}

/// Where two streams of replies begin to differ.
pub(crate) fn difference(got: &[u8], wanted: &[u8]) -> String {
    let same = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let part = |bytes: &[u8]| {
        let end = bytes.len().min(same + 200);
        bytes[same.saturating_sub(100).min(end)..end].escape_ascii().to_string()
    };
    format!("differs at {same}:\n got {}\n not {}", part(got), part(wanted))
}
