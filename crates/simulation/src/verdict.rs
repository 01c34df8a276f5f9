//! Judges a world that was played: a quiet server is given, one by one, what the real one executed, and must have said
//! the same to everybody.
//!
//! The order is that of the real server's list. Each command of it must be the next that its client sent, so nothing was
//! executed twice, left out, in another order or in another database, and a transaction is one entry. What leaves no
//! entry (MULTI, errors …) is given to the quiet server when its turn comes among its client's commands.

use std::time::Duration;

use unbusy_core::{Event, Time};

use crate::server::{Executed, Server, Settings, What};
use crate::text::{frame, is_message};
use crate::world::{Plan, World};
use crate::{BUSY, Rng, encode};

/// Nobody's budget ends before this in a world that does not mean it to.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

/// What was said to one client: replies, and what was published to it.
#[derive(Debug, Default)]
struct Said {
    replies: Vec<u8>,
    messages: Vec<u8>,
}

impl Said {
    fn add(&mut self, mut bytes: &[u8]) {
        while let Some(length) = frame(bytes) {
            let (first, rest) = bytes.split_at(length);
            if is_message(first) {
                self.messages.extend(first);
            } else {
                self.replies.extend(first);
            }
            bytes = rest;
        }
        // The beginning of a frame whose end never came, unless it may be the beginning of a message.
        if !b"3\r\n$7\r\nmessage\r\n".starts_with(bytes.get(1..).unwrap_or_default()) && !is_message(bytes) {
            self.replies.extend(bytes);
        }
    }
}

/// What clients were told instead of having their commands executed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Null for EXEC under WATCH.
    pub nulls: u64,
    /// BUSY.
    pub busy: u64,
    /// EXECABORT.
    pub aborts: u64,
    /// Not refused but executed once more: a script that spoke like a busy server while the server was busy.
    pub twice: u64,
}

/// Whether a script answers with what a busy server says.
fn speaks_like_server(words: &[String]) -> bool {
    words.get(1).is_some_and(|script| script.starts_with("error-BUSY_Redis"))
}

/// A script that answers with the server's own words in front of others looks like a hole.
pub(crate) fn apparent_holes(world: &World) -> u64 {
    world.server.log.iter().filter(|entry| speaks_like_server(&entry.words)).count() as u64
}

struct Judge<'a> {
    world: &'a World,
    plans: &'a [Plan],
    server: Server,
    now: Time,
    /// The next command of each client.
    next: Vec<usize>,
    /// What each client heard, and what each connection of the quiet server said.
    heard: Vec<Said>,
    said: Vec<Said>,
    refused: Refused,
}

/// Whether every promise was kept.
///
/// # Errors
/// Which was not.
pub(crate) fn judge(world: &World, plans: &[Plan]) -> Result<Refused, String> {
    if let Some(fault) = world.faults.first() {
        return Err(fault.clone());
    }
    if let Some((client, pair)) = world.pairs.iter().enumerate().find(|(_, pair)| pair.error.is_some()) {
        return Err(format!("client {client}: {:?}", pair.error));
    }
    if world.server.saw_mute {
        return Err("CLIENT REPLY OFF or SKIP came through".into());
    }
    let unheard = |event: &Event| matches!(event, Event::ThresholdLearned { .. });
    if let Some((at, event)) = world.events.iter().find(|(_, event)| unheard(event)) {
        return Err(format!("{event:?} at {at:?}"));
    }
    // A script that answers with the server's own words in front of others looks like a hole.
    let looks_busy =
        |entry: &&Executed| entry.words.get(1).is_some_and(|script| script.starts_with("error-BUSY_Redis"));
    let apparent = world.server.log.iter().filter(looks_busy).count();
    let holes = world.events.iter().filter(|(_, event)| *event == Event::Hole).count();
    if holes > apparent {
        return Err(format!("{holes} holes"));
    }
    let mut judge = Judge::new(world, plans);
    for batch in world.server.log.chunk_by(|one, other| one.batch == other.batch) {
        judge.repeat(batch)?;
    }
    (0..plans.len()).try_for_each(|client| judge.end(client))?;
    judge.count_refusals()?;
    Ok(judge.refused)
}

impl<'a> Judge<'a> {
    fn new(world: &'a World, plans: &'a [Plan]) -> Self {
        let mut server = Server::new(Settings { quiet: true, ..Settings::default() }, Rng(0));
        let said = (0..world.connections()).map(|_| Said::default()).collect();
        (0..world.connections()).for_each(|_| _ = server.connect());
        let heard = world.pairs.iter().map(|pair| {
            let mut heard = Said::default();
            heard.add(&pair.replies);
            heard
        });
        Self {
            world,
            plans,
            server,
            now: Time::ZERO,
            next: vec![0; plans.len()],
            heard: heard.collect(),
            said,
            refused: Refused::default(),
        }
    }

    /// The quiet server does what the real one did.
    fn repeat(&mut self, batch: &[Executed]) -> Result<(), String> {
        let (conn, before) = (batch[0].conn, self.server.log.len());
        match batch[0].what {
            What::Closed => {
                if let Some(client) = self.world.owner(conn) {
                    self.catch_up(client)?;
                }
                self.server.cut(conn, self.now);
            }
            What::TimedOut => self.server.time_out(conn, self.now),
            What::Done | What::Killed => {
                self.server.force_kill = batch.iter().any(|entry| entry.what == What::Killed);
                match self.world.owner(conn) {
                    None => self.give(conn, &batch[0].words),
                    // Nobody can tell such a script from a rejected one, if the server is busy by then.
                    Some(client) if self.is_again(client, batch) => {
                        self.refused.twice += 1;
                        return Ok(());
                    }
                    Some(client) => {
                        while self.server.log.len() == before {
                            self.give_next(client, batch)?;
                        }
                    }
                }
                self.server.force_kill = false;
            }
        }
        self.listen();
        let facts = |entry: &Executed| (entry.conn, entry.db, entry.words.clone(), entry.what);
        let mine = &self.server.log[before..];
        if mine.iter().map(facts).eq(batch.iter().map(facts)) {
            return Ok(());
        }
        let text = |entries: &[Executed]| {
            let lines = entries.iter().map(|entry| format!("{} in {}", entry.words.join(" "), entry.db));
            lines.collect::<Vec<_>>().join("; ")
        };
        let who =
            self.world.owner(conn).map_or_else(|| "somebody".into(), |client| format!("client {client}"));
        Err(format!("of {who} the server executed [{}], not [{}]", text(batch), text(mine)))
    }

    fn is_again(&self, client: usize, batch: &[Executed]) -> bool {
        let done = &self.plans[client].commands[..self.next[client]];
        speaks_like_server(&batch[0].words) && done.contains(&batch[0].words)
    }

    fn give(&mut self, conn: usize, words: &[String]) {
        self.server.receive(conn, &encode(words), self.now);
        while self.server.next() != Time::NEVER {
            self.now = self.server.next();
            self.server.advance(self.now);
        }
        self.now = self.now + Duration::from_micros(1);
        self.listen();
    }

    fn listen(&mut self) {
        for (conn, bytes) in self.server.take_sent() {
            self.said[conn].add(&bytes);
        }
        self.server.take_closed();
    }

    /// The next command of a client. `batch`: what its connection executed next; nothing, if no more.
    fn give_next(&mut self, client: usize, batch: &[Executed]) -> Result<(), String> {
        let conn = self.world.conn(client);
        let Some(words) = self.plans[client].commands.get(self.next[client]) else {
            return Err(format!("for client {client} more was executed than it sent: {:?}", batch.first()));
        };
        self.next[client] += 1;
        if self.server.is_blocked(conn) || self.server.is_closed(conn) {
            return Err(format!(
                "client {client} was served although it was blocked or closed: {:?}",
                batch.first()
            ));
        }
        let heard = self.heard[client].replies.get(self.said[conn].replies.len()..).unwrap_or_default();
        let queues = self.server.is_in_transaction(conn);
        let executed = !queues && batch.first().is_some_and(|entry| entry.words == *words);
        match words[0].to_uppercase().as_str() {
            _ if heard.starts_with(BUSY.as_bytes()) && !(executed && speaks_like_server(words)) => {
                self.refused.busy += 1;
                self.server.spoil(conn);
                self.said[conn].replies.extend(BUSY.as_bytes());
                return Ok(());
            }
            "EXEC" => {
                let null: &[u8] = if self.server.is_resp3(conn) { b"_\r\n" } else { b"*-1\r\n" };
                let told = queues && heard.starts_with(null) && self.server.watches(conn);
                self.server.force_null = told;
                self.refused.nulls += u64::from(told);
                if heard.starts_with(b"-EXECABORT") && !self.server.is_spoiled(conn) {
                    let line = frame(heard).ok_or("a reply that breaks off")?;
                    self.refused.aborts += 1;
                    self.server.discard(conn);
                    self.said[conn].replies.extend(&heard[..line]);
                    return Ok(());
                }
            }
            // Where the client wants no replies, the BUSY of a script that may have run does not show.
            "EVAL" if !queues && !executed && self.server.is_muted(conn) => {
                self.refused.busy += 1;
                self.server.pass_over(conn);
                return Ok(());
            }
            _ => {}
        }
        self.give(conn, words);
        self.server.force_null = false;
        Ok(())
    }

    /// Commands of a client that left no entry, as far as it heard what became of them.
    fn catch_up(&mut self, client: usize) -> Result<(), String> {
        let conn = self.world.conn(client);
        let more = |judge: &Self| {
            let behind = judge.said[conn].replies.len() < judge.heard[client].replies.len();
            behind && judge.next[client] < judge.plans[client].commands.len() && !judge.server.is_closed(conn)
        };
        while more(self) {
            self.give_unlogged(client)?;
        }
        Ok(())
    }

    fn give_unlogged(&mut self, client: usize) -> Result<(), String> {
        let (number, before) = (self.next[client], self.server.log.len());
        self.give_next(client, &[])?;
        if self.server.log.len() == before {
            return Ok(());
        }
        let words = self.plans[client].commands[number].join(" ");
        Err(format!("command {number} of client {client} was not executed: {words}"))
    }

    /// What a client sent behind the last command that was executed, and all it heard.
    fn end(&mut self, client: usize) -> Result<(), String> {
        let pair = &self.world.pairs[client];
        if pair.conn.is_none() {
            return Ok(());
        }
        let conn = self.world.conn(client);
        let stays = !pair.cut && pair.gone.is_none();
        self.catch_up(client)?;
        while stays && self.next[client] < self.plans[client].commands.len() {
            self.give_unlogged(client)?;
        }
        let (heard, said) = (&self.heard[client], &self.said[conn]);
        let agree = |heard: &[u8], said: &[u8]| if stays { heard == said } else { said.starts_with(heard) };
        for (what, heard, said) in
            [("replies", &heard.replies, &said.replies), ("messages", &heard.messages, &said.messages)]
        {
            if !agree(heard, said) {
                return Err(format!("client {client}: {what}: {}", crate::oracle::difference(heard, said)));
            }
        }
        Ok(())
    }

    /// BUSY reaches a client only when its budget is over, or for a script that may have run.
    fn count_refusals(&self) -> Result<(), String> {
        let ambiguous =
            self.world.events.iter().filter(|(_, event)| matches!(event, Event::Ambiguous)).count() as u64;
        let given_up: u64 = self.world.pairs.iter().map(|pair| pair.given_up).sum();
        let Refused { busy, aborts, .. } = self.refused;
        // A script that a pause keeps behind the PING in front of it is taken for one that ran, and nobody is told.
        if !self.world.pauses && busy > ambiguous + given_up {
            return Err(format!(
                "{busy} times BUSY, for {given_up} commands given up and {ambiguous} scripts that may have run"
            ));
        }
        if aborts > 0 && self.world.policy.max_wait >= AMPLE {
            return Err(format!("{aborts} transactions were refused"));
        }
        Ok(())
    }
}
