//! What clients send.

use std::time::Duration;

use crate::{MS, Rng, encode, words};

/// Groups of commands at random times.
pub fn sends(rng: &mut Rng, commands: &[Vec<String>]) -> Vec<(Duration, Vec<u8>)> {
    let mut at = MS * rng.below(60) as u32;
    let mut sends = Vec::new();
    let mut rest = commands;
    while !rest.is_empty() {
        let count = if rng.one_in(3) { rest.len() } else { 1 + rng.index(rest.len().min(40)) };
        let (group, others) = rest.split_at(count);
        sends.push((at, group.iter().flat_map(|words| encode(words)).collect()));
        rest = others;
        at += Duration::from_micros(rng.below(120_000));
    }
    sends
}

/// What a client might send, touching only keys and channels of its own. Never ends inside a transaction.
pub fn program(rng: &mut Rng, client: usize, length: usize) -> Vec<Vec<String>> {
    let mut program = Vec::new();
    // Perhaps, in both cases: what is not certain is taken for true.
    let (mut subscribed, mut muted) = (false, false);
    while program.len() < length {
        let skips = program.last().is_some_and(|words: &Vec<String>| words.concat() == "CLIENTREPLYSKIP");
        let text = match rng.below(40) {
            0..=2 => format!("SELECT {}", rng.below(4)),
            3 => format!("HELLO {}", 2 + rng.below(2)),
            4 => format!("AUTH {}", if rng.one_in(2) { "pw" } else { "wrong" }),
            5 => format!("CLIENT REPLY {}", ["ON", "OFF", "SKIP"][rng.index(3)]),
            6 => "CLIENT REPLY ON".into(),
            7 => "CLIENT SETNAME me".into(),
            8 if !muted && !skips && !subscribed => {
                format!("EVAL run-{} 0 {}", rng.below(200), program.len())
            }
            9 if !subscribed => {
                ["EVAL error-BUSY_of_my_own 0", "EVAL error-ERR_no 0", "EVAL error-LOADING_x 0"][rng.index(3)]
                    .into()
            }
            10 => format!("BLPOP none:{client} {}", 1 + rng.below(40)),
            11 => "NONSENSE x".into(),
            12 => format!("SUBSCRIBE c{client}:{} c{client}:x", rng.below(2)),
            13 => format!("PSUBSCRIBE p{client}:*"),
            14 => "PING".into(),
            15 if rng.one_in(3) => "RESET".into(),
            16..=21 if !subscribed => {
                // Without replies nobody could tell that WATCH was answered by null.
                transaction(rng, client, !muted, &mut program);
                continue;
            }
            _ => simple(rng, client, program.len()),
        };
        subscribed |= text.contains("SUBSCRIBE");
        muted |= text == "CLIENT REPLY OFF";
        muted &= text != "RESET" && (subscribed || text != "CLIENT REPLY ON");
        program.push(words(&text));
        if subscribed && rng.one_in(3) {
            let end = ["UNSUBSCRIBE", "PUNSUBSCRIBE", "UNSUBSCRIBE nothing"];
            program.extend(end.map(words));
            subscribed = false;
        }
    }
    program
}

fn transaction(rng: &mut Rng, client: usize, may_watch: bool, program: &mut Vec<Vec<String>>) {
    if may_watch && rng.one_in(3) {
        program.push(words(&format!("WATCH k{client}:{}", rng.below(3))));
        if rng.one_in(4) {
            program.push(words("UNWATCH"));
        }
        if rng.one_in(4) {
            program.push(simple(rng, client, program.len()).split(' ').map(str::to_owned).collect());
        }
    }
    program.push(words("MULTI"));
    for _ in 0..rng.below(6) {
        let text = match rng.below(12) {
            0 => "NONSENSE x".into(),
            1 => format!("EVAL run-{} 0 in", rng.below(150)),
            _ => simple(rng, client, program.len()),
        };
        program.push(words(&text));
    }
    program.push(words(if rng.one_in(6) { "DISCARD" } else { "EXEC" }));
}

/// A command that any client may send at any time.
pub fn simple(rng: &mut Rng, client: usize, number: usize) -> String {
    let key = format!("k{client}:{}", rng.below(3));
    match rng.below(9) {
        0 => format!("GET {key}"),
        1 => format!("SET {key} {number}"),
        2..=4 => format!("INCR {key}"),
        5 => format!("RPUSH l{client} {number}"),
        6 => format!("APPEND a{client} {number}."),
        7 => format!("LRANGE l{client} 0 -1"),
        _ => {
            let most = if rng.one_in(8) { 20_000 } else { 30 };
            format!("ECHO x{}", "x".repeat(rng.index(most)))
        }
    }
}
