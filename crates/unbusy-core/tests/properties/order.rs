//! A session between a client that numbers its commands and a server that is busy now and then, mostly at the worst time:
//! there is no lease here, so commands are rejected in front of others that are executed.
//!
//! * No command is executed twice, and with strict order none behind one that the client sent later.
//! * The client gets one reply for each command, in order: the command's own, or BUSY; BUSY only if it was not executed,
//!   unless a script said so itself. A transaction is executed as a whole or not at all.
//! * When the server is open again, everything is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use unbusy_core::resp::{ReplyScanner, RequestScanner, Scanned, args};
use unbusy_core::session::{Out, Pass, Want};
use unbusy_core::{Policy, Session, Time};

use super::input::{Input, Text};
use super::shell::let_go;

const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const ABORT_BUSY: &str = "-EXECABORT Transaction discarded because of: BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const ABORT: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const NOPERM: &str = "-NOPERM this user has no permissions\r\n";
const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const NO_MULTI: &str = "-ERR EXEC without MULTI\r\n";

/// Those with a number behind them are executed and answer with the number. But LLEN finds no list, which counts as not
/// executed since it has no effect; ASKING may be sent again, as long as it is in front of its command; and this client may
/// not send TTL.
const NAMES: &[&str] = &[
    "GET", "INCR", "SET", "EVAL", "MODULE.X", "SELECT", "BLPOP", "READONLY", "LLEN", "TTL", "MULTI", "EXEC",
    "DISCARD", "WATCH", "HELLO", "ASKING",
];

/// More rounds than any open server needs.
const ROUNDS_MAX: usize = 4096;

pub fn check(bytes: &[u8]) {
    let mut play = Play::new(bytes);
    while !play.input.is_empty() {
        play.step();
    }
    play.open();
    play.assert_order();
    if !play.gone {
        play.assert_replies();
    }
}

#[derive(Debug)]
struct Play<'a> {
    input: Input<'a>,
    policy: Policy,
    session: Session,
    server: Server,
    now: Time,
    gone: bool,
    sent: Vec<(u64, &'static str)>,
    got: Text,
}

impl<'a> Play<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut input = Input::new(bytes);
        let kind = input.byte();
        let policy = Policy {
            max_wait: Duration::from_millis(if kind & 1 == 0 { 1000 } else { 20 }),
            strict: kind & 2 == 0,
            one_read: kind & 4 != 0,
            ..Policy::default()
        };
        Self {
            input,
            policy,
            session: Session::new(policy),
            server: Server { lies: kind & 8 != 0, ..Server::default() },
            now: Time::from_nanos(1_000_000_000),
            gone: false,
            sent: Vec::new(),
            got: Text::default(),
        }
    }

    fn step(&mut self) {
        let event = self.input.byte();
        match event % 16 {
            0..=3 => self.client(),
            4 if event < 128 => self.send(Pass::One),
            4 => self.send(Pass::Speak),
            5 => self.send(Pass::Free),
            6 => self.write(usize::MAX),
            7 => {
                let count = usize::from(self.input.byte());
                self.write(count);
            }
            8 => self.server.handle_next(),
            9 => (0..16).for_each(|_| self.server.handle_next()),
            10 => self.hear(usize::MAX),
            11 => {
                let count = usize::from(self.input.byte());
                self.hear(count);
            }
            12 => self.server.busy ^= !self.server.lies,
            13 => self.now = self.now + Duration::from_millis(1 << self.input.below(6)),
            14 => self.budget(),
            _ => self.other(),
        }
    }

    fn client(&mut self) {
        if self.gone || !self.session.wants_read() {
            return;
        }
        let name = NAMES[self.input.below(NAMES.len())];
        let number = self.sent.len() as u64 + 1;
        let size = if name == "SET" { usize::from(self.input.byte()).pow(2) / 3 } else { 0 };
        let command = match name {
            "MULTI" | "EXEC" | "DISCARD" => format!("{name}\r\n"),
            _ => format!(
                "*3\r\n${}\r\n{name}\r\n$8\r\n{number:08}\r\n${size}\r\n{}\r\n",
                name.len(),
                "x".repeat(size)
            ),
        };
        self.sent.push((number, name));
        let mut out = Out::default();
        let read = self.session.client_bytes(command.as_bytes(), self.now, &mut out);
        assert_eq!(read, Ok(None), "{self:?}");
        self.got.0.extend(out.to_client(&[]));
    }

    fn send(&mut self, pass: Pass) {
        let_go(&mut self.session, pass, self.now);
    }

    fn write(&mut self, most: usize) {
        let count = self.session.outgoing().len().min(most);
        if count > 0 {
            self.server.inbox.0.extend_from_slice(&self.session.outgoing()[..count]);
            let mut out = Out::default();
            self.session.wrote(count, &mut out);
            self.got.0.extend(out.to_client(&[]));
        }
    }

    /// The server's replies arrive.
    fn hear(&mut self, most: usize) {
        let count = self.server.outbox.0.len().min(most);
        let bytes: Vec<u8> = self.server.outbox.0.drain(..count).collect();
        let mut out = Out::default();
        let read = self.session.server_bytes(&bytes, self.now, &mut out);
        assert_eq!(read, Ok(()), "{self:?}");
        self.got.0.extend(out.to_client(&bytes));
    }

    fn budget(&mut self) {
        if !matches!(self.session.want(), Want::Gate(_)) || !self.session.is_idle() {
            return;
        }
        self.session.wait_began(self.now);
        if self.session.deadline().is_some_and(|deadline| deadline <= self.now) {
            let mut out = Out::default();
            self.session.expire(Some(Time::from_nanos(1_000_000_000)), self.now, &mut out);
            self.got.0.extend(out.to_client(&[]));
        }
    }

    fn other(&mut self) {
        match self.input.below(8) {
            // The gate knows better; but of a script that lies it knows nothing.
            0 if !self.server.lies => self.session.confirm_rejection(),
            1 if self.session.doubt().is_some() => {
                let mut out = Out::default();
                self.session.deny_rejection(self.now, &mut out);
                self.got.0.extend(out.to_client(&[]));
            }
            2 => self.session.take_back(),
            3 if self.session.is_poisoned() => self.session.unpoison(),
            4 => {
                self.gone = true;
                self.session.client_gone();
            }
            5 => {
                self.gone = true;
                self.session.client_lost();
            }
            6 if self.gone && self.session.is_idle() => self.session.abandon(),
            _ => {}
        }
    }

    /// The server is open from now on, and everybody has time.
    fn open(&mut self) {
        self.server.busy = false;
        for _ in 0..ROUNDS_MAX {
            let nothing = self.session.want() == Want::Nothing && self.session.outgoing().is_empty();
            if nothing && self.session.is_idle() && self.server.outbox.0.is_empty() {
                assert!(self.session.is_quiet(), "{self:?}");
                assert_eq!(self.session.scripts_in_flight(), 0, "{self:?}");
                return;
            }
            self.send(Pass::Speak);
            self.write(usize::MAX);
            self.server.handle_next();
            self.hear(usize::MAX);
        }
        panic!("goes round and round: {self:?}");
    }

    fn assert_order(&self) {
        let executed = &self.server.executed;
        if self.policy.strict {
            assert!(executed.is_sorted_by(|one, next| one < next), "{executed:?} {self:?}");
        } else {
            let different: BTreeSet<_> = executed.iter().collect();
            assert_eq!(different.len(), executed.len(), "{executed:?} {self:?}");
        }
    }

    /// Looks at each command's reply.
    fn assert_replies(&self) {
        let mut rest = self.got.0.as_slice();
        let mut transaction: Option<Vec<u64>> = None;
        for &(number, name) in &self.sent {
            let length = match ReplyScanner::default().scan(rest) {
                Ok(Scanned::Complete(length)) => length,
                other => panic!("{other:?} for {number} {name}: {self:?}"),
            };
            let reply = String::from_utf8_lossy(&rest[..length]);
            rest = &rest[length..];
            self.assert_reply(number, name, &reply, &mut transaction);
        }
        assert!(rest.is_empty(), "{} too much: {self:?}", rest.escape_ascii());
    }

    fn assert_reply(&self, number: u64, name: &str, reply: &str, transaction: &mut Option<Vec<u64>>) {
        let executed = |number: u64| self.server.executed.contains(&number);
        let context = || format!("{reply:?} for {number} {name}: {self:?}");
        if name == "EXEC" {
            let queued = transaction.take().unwrap_or_default();
            let whole = reply.starts_with('*') && reply != "*-1\r\n";
            let array: String = queued.iter().map(|number| own_reply(*number)).collect();
            assert!(!whole || reply == format!("*{}\r\n{array}", queued.len()), "{}", context());
            assert!(queued.into_iter().all(|number| executed(number) == whole), "{}", context());
            return;
        }
        match (name, reply) {
            ("MULTI", "+OK\r\n") => *transaction = Some(Vec::new()),
            ("DISCARD", "+OK\r\n") => {
                let queued = transaction.take().unwrap_or_default();
                assert!(!queued.into_iter().any(executed), "{}", context());
            }
            // With BUSY they are refused behind a SELECT that was given up.
            ("MULTI", _) if reply != BUSY => assert!(transaction.is_some(), "{}", context()),
            ("DISCARD", _) if reply != BUSY => assert!(transaction.is_none(), "{}", context()),
            ("WATCH", _) if transaction.is_some() => {}
            ("WATCH" | "HELLO" | "ASKING", "+OK\r\n") | ("TTL", NOPERM) | ("LLEN", WRONGTYPE) => {}
            (_, "+QUEUED\r\n") => {
                transaction.as_mut().unwrap_or_else(|| panic!("{}", context())).push(number);
            }
            (_, BUSY) if self.server.lied.contains(&number) => {}
            // An error in front of a hole gives way to the words that the first rejected command was told.
            (_, BUSY | ABORT_BUSY | ABORT) => assert!(!executed(number), "{}", context()),
            _ => {
                assert_eq!(reply, own_reply(number), "{}", context());
                assert!(executed(number), "{}", context());
            }
        }
    }
}

fn own_reply(number: u64) -> String {
    format!(":{number}\r\n")
}

/// As Redis 7 does it, one connection.
#[derive(Debug, Default)]
struct Server {
    busy: bool,
    /// Scripts answer with the server's own text after having been executed. Such a server is never busy.
    lies: bool,
    inbox: Text,
    outbox: Text,
    queue: Option<Vec<u64>>,
    tainted: bool,
    executed: Vec<u64>,
    lied: BTreeSet<u64>,
}

impl Server {
    fn handle_next(&mut self) {
        let scanned = RequestScanner::default().scan(&self.inbox.0).expect("commands");
        let Some(length) = scanned else { return };
        let command: Vec<u8> = self.inbox.0.drain(..length).collect();
        let words: Vec<_> = args(&command).map(String::from_utf8_lossy).collect();
        let number = words.get(1).map_or(0, |word| word.parse().expect("a number"));
        let reply = self.reply(&words[0], number);
        self.outbox.0.extend_from_slice(reply.as_bytes());
    }

    fn reply(&mut self, name: &str, number: u64) -> String {
        let reply = match name {
            "MULTI" if self.queue.is_some() => self.refuse("-ERR MULTI calls can not be nested\r\n"),
            "MULTI" => {
                self.queue = Some(Vec::new());
                self.tainted = false;
                "+OK\r\n"
            }
            "DISCARD" if self.queue.take().is_none() => "-ERR DISCARD without MULTI\r\n",
            "DISCARD" => "+OK\r\n",
            "WATCH" if self.queue.is_some() => self.refuse("-ERR WATCH inside MULTI is not allowed\r\n"),
            "WATCH" | "HELLO" if self.queue.is_none() => "+OK\r\n",
            "EXEC" => return self.exec(),
            "TTL" => self.refuse(NOPERM),
            _ if self.busy && name != "HELLO" => self.refuse(BUSY),
            "PING" => "+PONG\r\n",
            _ => return self.run(name, number),
        };
        reply.to_owned()
    }

    fn refuse(&mut self, error: &'static str) -> &'static str {
        self.tainted = true;
        error
    }

    fn exec(&mut self) -> String {
        let queue = self.queue.take();
        if self.busy {
            return ABORT_BUSY.to_owned();
        }
        match queue {
            None => NO_MULTI.to_owned(),
            Some(_) if self.tainted => ABORT.to_owned(),
            Some(queue) => {
                let replies: String = queue.iter().map(|number| own_reply(*number)).collect();
                self.executed.extend(&queue);
                format!("*{}\r\n{replies}", queue.len())
            }
        }
    }

    fn run(&mut self, name: &str, number: u64) -> String {
        if let Some(queue) = &mut self.queue {
            queue.push(number);
            return "+QUEUED\r\n".to_owned();
        }
        match name {
            "LLEN" => return WRONGTYPE.to_owned(),
            "ASKING" => return "+OK\r\n".to_owned(),
            _ => {}
        }
        self.executed.push(number);
        if self.lies && name == "EVAL" {
            self.lied.insert(number);
            return BUSY.to_owned();
        }
        own_reply(number)
    }
}
