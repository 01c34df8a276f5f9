//! What clients send.

use std::time::Duration;

use crate::{BUSY, MS, Rng, encode, words};

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

/// What kind of program a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All sorts of commands, on keys of its own.
    Mixed,
    /// Reads and writes, on keys of its own.
    Plain,
    /// Reads and writes, on keys that others write, too.
    Shared,
    /// Transactions under WATCH, on keys that others write, too.
    Transfers,
    /// Pushes to lists and pops from them, waiting if need be.
    Works,
    /// Subscribes, and little else.
    Subscribes,
    /// Publishes.
    Publishes,
    /// Scripts, some of which answer with what looks like the server's BUSY.
    Scripts,
    /// Large values, some larger than the window.
    Large,
    /// SCRIPT KILL.
    Kills,
    /// Writes, a few every few milliseconds.
    Streams,
}

impl Role {
    pub(crate) const ALL: [Self; 11] = [
        Self::Mixed,
        Self::Plain,
        Self::Shared,
        Self::Transfers,
        Self::Works,
        Self::Subscribes,
        Self::Publishes,
        Self::Scripts,
        Self::Large,
        Self::Kills,
        Self::Streams,
    ];

    /// Each of its commands has one reply.
    pub(crate) const fn is_countable(self) -> bool {
        !matches!(self, Self::Mixed | Self::Subscribes)
    }

    /// What it sends. `unit`: scripts run for about so many milliseconds. `mutes`: it may want no replies.
    pub(crate) fn program(
        self,
        rng: &mut Rng,
        client: usize,
        length: usize,
        unit: u64,
        mutes: bool,
    ) -> Vec<Vec<String>> {
        if self == Self::Mixed {
            let mut program = program(rng, client, length);
            let replies = |words: &[String]| words[0] == "CLIENT" && words[1] == "REPLY";
            program.retain(|words| mutes || !replies(words));
            return program;
        }
        let mut program = Vec::new();
        while program.len() < length {
            let number = program.len();
            self.push(rng, client, number, unit, &mut program);
        }
        program
    }

    fn push(self, rng: &mut Rng, client: usize, number: usize, unit: u64, program: &mut Vec<Vec<String>>) {
        let tag = format!("{client}:{number}");
        let text = match self {
            Self::Mixed | Self::Plain => simple(rng, client, number),
            Self::Shared => shared(rng, &tag),
            Self::Transfers => return transfer(rng, &tag, program),
            Self::Works => match rng.below(4) {
                0 => format!("BLPOP q{} {}", rng.below(2), 1 + rng.below(3 * unit)),
                1 => format!("RPUSH q{} {tag} {tag}+", rng.below(2)),
                2 => format!("SELECT {}", rng.below(2)),
                _ => format!("RPUSH q{} {tag}", rng.below(2)),
            },
            Self::Subscribes => match rng.below(6) {
                0 => format!("UNSUBSCRIBE c{}", rng.below(2)),
                1 => "PING".into(),
                2 => format!("HELLO {}", 2 + rng.below(2)),
                3 => simple(rng, client, number),
                _ => format!("SUBSCRIBE c{}", rng.below(2)),
            },
            Self::Publishes => format!("PUBLISH c{} {tag}", rng.below(2)),
            Self::Scripts => script(rng, &tag, unit),
            Self::Large => {
                let length = [16_000, 17_000, 33_000, 90_000][rng.index(4)];
                format!("SET big{client} {tag}{}", "x".repeat(length))
            }
            Self::Kills => "SCRIPT KILL".into(),
            // Large ones go without a lease, too, and are no scouts.
            Self::Streams => {
                format!("SET k{client} {tag}{}", "x".repeat(if rng.one_in(10) { 17_000 } else { 0 }))
            }
        };
        program.push(words(&text));
    }
}

fn shared(rng: &mut Rng, tag: &str) -> String {
    match rng.below(6) {
        0 => format!("GET s{}", rng.below(2)),
        1 => format!("APPEND log {tag}."),
        2 => "GET log".into(),
        3 => format!("SET s{} {}", rng.below(2), rng.below(100)),
        _ => format!("INCR s{}", rng.below(2)),
    }
}

fn transfer(rng: &mut Rng, tag: &str, program: &mut Vec<Vec<String>>) {
    if rng.one_in(4) {
        return program.push(words(&shared(rng, tag)));
    }
    if rng.one_in(2) {
        program.push(words("WATCH s0 s1"));
        program.push(words("GET s0"));
    }
    program.push(words("MULTI"));
    for part in 0..=rng.below(2) {
        program.push(words(&shared(rng, &format!("{tag}/{part}"))));
    }
    program.push(words(if rng.one_in(8) { "DISCARD" } else { "EXEC" }));
}

fn script(rng: &mut Rng, tag: &str, unit: u64) -> String {
    let own = BUSY.trim_start_matches('-').trim_end().replace(' ', "_");
    match rng.below(6) {
        0 => format!("EVAL error-{own} 0 {tag}"),
        1 => format!("EVAL run-{} 0 {tag}", unit * (5 + rng.below(20)) / 10),
        2 => format!("EVAL run-0 0 {}{tag}", "x".repeat(1_300)),
        3 => format!("INCR scripts:{}", &tag[..1]),
        _ => format!("EVAL run-0 0 {tag}"),
    }
}
