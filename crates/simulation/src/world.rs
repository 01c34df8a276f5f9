//! The world: lets time pass from one thing that happens to the next.

use std::collections::BTreeSet;
use std::time::Duration;

use unbusy_core::gate::Ticket;
use unbusy_core::{Event, Gate, Policy, Time};

use crate::network::{Cuts, Network};
use crate::pair::{Leave, Pair, Place, Reader};
use crate::server::{Server, Settings};
use crate::shell::Shell;
use crate::trace::{Step, Trace};
use crate::{MS, Rng, encode};

pub use crate::pair::GONE_WAIT;

/// What the proxy reads at once.
pub const READ_BYTES: usize = 64 * 1024;
/// More steps than any world needs: something goes round and round.
const STEPS_MAX: u64 = 3_000_000;
/// Nobody waits longer than this for a server that is open: a scout goes at least every 5 s, and its reply may be late.
const PATIENCE: Duration = Duration::from_secs(6);

/// The world begins here, so that every moment is above zero.
pub const START: Time = Time::from_nanos(1_000_000_000);

/// What the world does to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It dies, and comes back after so long.
    Crash(Duration),
    /// It ends the connection of this client.
    Cut(usize),
}

/// What one client does.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Through which proxy.
    pub shell: usize,
    /// When it connects.
    pub starts: Duration,
    /// All it sends.
    pub commands: Vec<Vec<String>>,
    /// When it sends them.
    pub pace: Pace,
    /// When it leaves, and how.
    pub leaves: Option<(Duration, Leave)>,
    /// How slowly it takes its replies.
    pub reader: Option<Reader>,
    /// Each of its commands has one reply.
    pub countable: bool,
}

/// When a client sends its commands.
#[derive(Debug, Clone)]
pub enum Pace {
    /// So many of them at a time, so long after it began.
    Timed(Vec<(Duration, usize)>),
    /// So many at once and one for each reply, after a while. Only if each has one reply.
    Loop(usize, Duration),
}

impl Default for Pace {
    fn default() -> Self {
        Self::Timed(Vec::new())
    }
}

/// A connection beside the proxy.
#[derive(Debug)]
struct Direct {
    at: Time,
    /// Which of them; it has a new connection to a new server.
    slot: usize,
    bytes: Vec<u8>,
}

/// The world. See the module's documentation.
#[derive(Debug)]
pub struct World {
    /// What time it is.
    pub now: Time,
    /// The server.
    pub server: Server,
    /// The connections through the proxy.
    pub pairs: Vec<Pair>,
    /// What gates and sessions told, and when.
    pub events: Vec<(Time, Event)>,
    /// What no session, gate or server must do, but did.
    pub faults: Vec<String>,
    /// How often the server crashed.
    pub crashes: u64,
    /// The server is paused at times.
    pub pauses: bool,
    pub(crate) policy: Policy,
    pub(crate) shells: Vec<Shell>,
    pub(crate) network: Network,
    pub(crate) ready: BTreeSet<usize>,
    pub(crate) trace: Trace,
    /// Whose connection is whose: the pair of a server connection, if it has one.
    owners: Vec<Option<usize>>,
    direct: Vec<Direct>,
    slots: Vec<usize>,
    fates: Vec<(Time, Fate)>,
    /// The server is dead until then.
    down_until: Option<Time>,
    /// Since when nothing keeps the server from executing what comes.
    open_since: Option<Time>,
    /// How much of the server's lists was told.
    logged: usize,
    rejected: usize,
    steps: u64,
}

impl World {
    /// A world without clients.
    pub fn new(seed: u64, settings: Settings, policy: Policy, delay: (Duration, Duration)) -> Self {
        let shell = Shell::new(settings.threshold);
        Self {
            now: START,
            server: Server::new(settings, Rng(seed ^ 1)),
            pairs: Vec::new(),
            events: Vec::new(),
            faults: Vec::new(),
            crashes: 0,
            pauses: false,
            policy,
            shells: vec![shell],
            network: Network { rng: Rng(seed ^ 2), delay, cuts: Cuts::Some, full: MS, loses_replies: false },
            ready: BTreeSet::new(),
            trace: Trace::default(),
            owners: Vec::new(),
            direct: Vec::new(),
            slots: Vec::new(),
            fates: Vec::new(),
            down_until: None,
            open_since: Some(START),
            logged: 0,
            rejected: 0,
            steps: 0,
        }
    }

    /// The gates believe in this threshold, whatever the server's is.
    pub fn assume(&mut self, threshold: Option<Duration>) {
        self.shells.iter_mut().for_each(|shell| shell.gate.set_threshold(threshold));
    }

    /// One more proxy in front of the same server.
    pub fn add_proxy(&mut self) {
        let threshold = self.shells[0].gate.threshold();
        self.shells.push(Shell::new(threshold));
    }

    /// How bytes come in pieces.
    pub const fn cut(&mut self, cuts: Cuts) {
        self.network.cuts = cuts;
    }

    /// Full sockets may take nothing for as long as this.
    pub const fn clog(&mut self, most: Duration) {
        self.network.full = most;
    }

    /// From now on some replies are late by as much as a retransmission takes, while others are not.
    pub const fn lose_replies(&mut self) {
        self.network.loses_replies = true;
    }

    /// Every step is written down.
    pub fn write_down(&mut self) {
        self.trace.lines = Some(Vec::new());
    }

    /// What was written down.
    pub fn take_lines(&mut self) -> Vec<String> {
        self.trace.lines.take().unwrap_or_default()
    }

    /// Of all that happened: equal for equal worlds.
    pub fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// A client through the proxy, which sends these bytes so long after the start.
    pub fn client(&mut self, sends: impl IntoIterator<Item = (Duration, Vec<u8>)>) -> usize {
        let at = self.add_pair(0, Duration::ZERO);
        self.connect(at);
        self.pairs[at].from_client = sends.into_iter().map(|(after, bytes)| (START + after, bytes)).collect();
        at
    }

    /// A client that does all this.
    pub fn join(&mut self, plan: &Plan) -> usize {
        let at = self.add_pair(plan.shell, plan.starts);
        let pair = &mut self.pairs[at];
        let starts = pair.starts;
        pair.reader = plan.reader;
        let commands: Vec<_> = plan.commands.iter().map(|words| encode(words)).collect();
        if plan.countable {
            let end = |end: &mut usize, command: &Vec<u8>| {
                *end += command.len();
                Some(*end)
            };
            pair.ends = commands.iter().scan(0, end).collect();
        }
        match &plan.pace {
            Pace::Timed(groups) => {
                let mut rest = commands.into_iter();
                pair.from_client = groups
                    .iter()
                    .map(|&(after, count)| (starts + after, rest.by_ref().take(count).flatten().collect()))
                    .collect();
            }
            &Pace::Loop(depth, think) => {
                pair.asks.commands = commands.into();
                pair.asks.depth = depth;
                pair.asks.think = think;
                pair.send_more(starts);
            }
        }
        if let Some((after, how)) = plan.leaves {
            pair.leaves = starts + after;
            pair.how = how;
        }
        at
    }

    fn add_pair(&mut self, shell: usize, starts: Duration) -> usize {
        self.pairs.push(Pair::new(shell, self.policy, START + starts));
        self.pairs.len() - 1
    }

    fn connect(&mut self, at: usize) {
        self.owners.push(Some(at));
        self.pairs[at].conn = Some(self.server.connect());
    }

    /// The client sends more.
    pub fn sends(&mut self, pair: usize, after: Duration, bytes: Vec<u8>) {
        self.pairs[pair].from_client.push_back((START + after, bytes));
    }

    /// The client leaves so long after the start.
    pub fn leaves(&mut self, pair: usize, after: Duration, how: Leave) {
        self.pairs[pair].leaves = START + after;
        self.pairs[pair].how = how;
    }

    /// Bytes that reach the server beside the proxy at these times, on one connection.
    pub fn direct(&mut self, sends: impl IntoIterator<Item = (Duration, Vec<u8>)>) -> usize {
        let conn = self.server.connect();
        self.owners.push(None);
        self.slots.push(conn);
        let slot = self.slots.len() - 1;
        let sends = sends.into_iter().map(|(after, bytes)| Direct { at: START + after, slot, bytes });
        self.direct.extend(sends);
        self.direct.sort_by_key(|send| std::cmp::Reverse(send.at));
        conn
    }

    /// This happens to the server so long after the start.
    pub fn strike(&mut self, after: Duration, fate: Fate) {
        self.fates.push((START + after, fate));
        self.fates.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    /// The server connection of a client.
    pub fn conn(&self, pair: usize) -> usize {
        self.pairs[pair].conn.expect("it has connected")
    }

    /// The client of a server connection, unless it is beside the proxy.
    pub fn owner(&self, conn: usize) -> Option<usize> {
        self.owners[conn]
    }

    /// How many server connections there were.
    pub fn connections(&self) -> usize {
        self.owners.len()
    }

    /// Whether this was told.
    pub fn saw(&self, event: &Event) -> bool {
        self.events.iter().any(|(_, seen)| seen == event)
    }

    /// Database and words of what one client's connection executed.
    pub fn executed(&self, pair: usize) -> Vec<(u32, Vec<String>)> {
        let conn = self.pairs[pair].conn;
        let mine = self.server.log.iter().filter(|entry| Some(entry.conn) == conn && entry.is_command());
        mine.map(|entry| (entry.db, entry.words.clone())).collect()
    }

    /// Lets time pass until nothing is to come, at most for so long after the start.
    pub fn run(&mut self, most: Duration) {
        self.ready.extend(0..self.pairs.len());
        loop {
            self.count_step();
            while let Some(pair) = self.ready.pop_first() {
                self.drive(pair);
            }
            self.collect_sent();
            let next = self.next();
            if next > START + most {
                return;
            }
            self.now = self.now.max(next);
            self.strike_due();
            self.arrive();
            self.server.advance(self.now);
            self.collect_sent();
            self.call_gates();
            self.watch_patience();
        }
    }

    pub(crate) fn count_step(&mut self) {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "goes round and round at {:?}", self.now);
    }

    fn next(&self) -> Time {
        let pairs = self.pairs.iter().map(|pair| pair.next(self.now));
        let shells = self.shells.iter().map(|shell| shell.deadline.min(shell.question));
        let direct = self.direct.last().map_or(Time::NEVER, |send| send.at);
        let fate = self.fates.last().map_or(Time::NEVER, |(at, _)| *at);
        let back = self.down_until.unwrap_or(Time::NEVER);
        pairs.chain(shells).chain([direct, fate, back, self.server.next()]).min().unwrap_or(Time::NEVER)
    }

    fn strike_due(&mut self) {
        let now = self.now;
        if self.down_until.is_some_and(|until| until <= now) {
            self.down_until = None;
            self.note(&Step::Fate("the server is back"));
        }
        while self.fates.last().is_some_and(|(at, _)| *at <= now) {
            match self.fates.pop() {
                Some((_, Fate::Crash(down))) if self.down_until.is_none() => self.crash(down),
                Some((_, Fate::Cut(pair))) => {
                    if let Some(conn) = self.pairs[pair].conn {
                        self.server.cut(conn, now);
                    }
                }
                _ => {}
            }
        }
    }

    fn crash(&mut self, down: Duration) {
        self.note(&Step::Fate("the server crashes"));
        let now = self.now;
        self.server.crash(now);
        self.crashes += 1;
        for conn in self.server.take_closed_now() {
            if let Some(pair) = self.owners[conn] {
                self.pairs[pair].from_server.tear(now, &mut self.network);
            }
        }
        self.down_until = Some(now + down);
    }

    /// What was on its way and is due.
    fn arrive(&mut self) {
        let now = self.now;
        while self.direct.last().is_some_and(|send| send.at <= now) {
            let Some(Direct { slot, bytes, .. }) = self.direct.pop() else { return };
            if self.down_until.is_some() {
                continue;
            }
            if self.server.is_closed(self.slots[slot]) {
                self.owners.push(None);
                self.slots[slot] = self.server.connect();
            }
            self.server.receive(self.slots[slot], &bytes, now);
        }
        for at in 0..self.pairs.len() {
            self.arrive_at(at);
        }
    }

    fn arrive_at(&mut self, at: usize) {
        let now = self.now;
        if self.pairs[at].conn.is_none() {
            if self.pairs[at].starts > now {
                return;
            }
            if let Some(until) = self.down_until {
                // It is refused, and tries again.
                self.pairs[at].starts = until + self.network.rng.span((MS, 20 * MS));
                return;
            }
            self.connect(at);
            self.note(&Step::Connects(at));
            self.ready.insert(at);
        }
        let pair = &mut self.pairs[at];
        let conn = pair.conn.expect("it has connected");
        while let Some(bytes) = pair.to_server.pop(now) {
            self.server.receive(conn, &bytes, now);
        }
        let mut ready = false;
        while let Some(bytes) = self.pairs[at].from_server.pop(now) {
            self.note(&Step::FromServer(at, &bytes));
            let pair = &mut self.pairs[at];
            pair.server_closed |= bytes.is_empty();
            pair.server_inbox.extend(bytes);
            ready = true;
        }
        while self.pairs[at].from_client.front().is_some_and(|(at, _)| *at <= now) {
            let Some((sent, bytes)) = self.pairs[at].from_client.pop_front() else { break };
            // Who has left sends no more.
            if sent <= self.pairs[at].leaves {
                self.note(&Step::Sends(at, &bytes));
                self.pairs[at].client_inbox.extend(bytes);
            }
            ready = true;
        }
        let pair = &mut self.pairs[at];
        if pair.reads_at <= now {
            pair.take_replies(now);
            ready = true;
        }
        let due = pair.timer.is_some_and(|timer| timer <= now);
        let leaves = pair.leaves <= now && !pair.client_closed && !pair.ended;
        if leaves && pair.leaves == now {
            let (how, resets) = (pair.how.text(), pair.how == Leave::Reset);
            if resets && self.network.rng.one_in(2) {
                pair.client_inbox.clear();
            }
            self.note(&Step::Leaves(at, how));
        }
        if ready || due || leaves || self.pairs[at].blocked_until == now {
            self.ready.insert(at);
        }
    }

    fn collect_sent(&mut self) {
        let now = self.now;
        self.tell_of_server();
        for (conn, bytes) in self.server.take_sent() {
            let Some(pair) = self.owners[conn] else { continue };
            let pipe = &mut self.pairs[pair].from_server;
            if self.network.loses_replies && self.network.rng.one_in(20) {
                pipe.lose(now, &mut self.network);
            }
            pipe.push(&bytes, 1, now, &mut self.network);
        }
        for conn in self.server.take_closed() {
            if let Some(pair) = self.owners[conn] {
                self.pairs[pair].from_server.close(now, &mut self.network);
            }
        }
        match (self.server.is_open() && self.down_until.is_none(), self.open_since) {
            (true, None) => self.open_since = Some(now),
            (true, Some(_)) => {}
            (false, _) => self.open_since = None,
        }
    }

    fn tell_of_server(&mut self) {
        for entry in &self.server.log[self.logged..] {
            self.trace.note(entry.at, &Step::Executed(entry));
        }
        self.logged = self.server.log.len();
        for (conn, name) in &self.server.rejected[self.rejected..] {
            self.trace.note(self.now, &Step::Rejected(*conn, name));
        }
        self.rejected = self.server.rejected.len();
    }

    fn call_gates(&mut self) {
        for shell in 0..self.shells.len() {
            if self.shells[shell].question <= self.now && !self.server.is_stalled() {
                let (busy, now) = (self.server.is_busy(), self.now);
                self.shells[shell].observed(!busy, now);
                self.settle(shell);
            } else if self.shells[shell].question <= self.now {
                self.shells[shell].question = self.now + 250 * MS;
            }
            if self.shells[shell].deadline <= self.now {
                self.settle(shell);
            }
        }
    }

    /// Somebody waits although the server has been open for long.
    fn watch_patience(&mut self) {
        let Some(open) = self.open_since else { return };
        let late = |pair: &Pair| {
            !pair.ended && pair.waits.is_some_and(|since| self.now - since.max(open) > PATIENCE)
        };
        if let Some(at) = self.pairs.iter().position(late) {
            self.pairs[at].waits = None;
            self.fault(&format!("client {at} waits, yet the server is open"));
        }
    }

    /// Every call of a gate goes through here, as in the proxy. `over`: who has this ticket does not try any more.
    pub(crate) fn with<R>(
        &mut self,
        at: usize,
        over: Option<Ticket>,
        change: impl FnOnce(&mut Gate, Time) -> R,
    ) -> R {
        let shell = self.pairs[at].shell;
        self.shells[shell].forget(over);
        let result = change(&mut self.shells[shell].gate, self.now);
        self.settle(shell);
        result
    }

    fn settle(&mut self, shell: usize) {
        let now = self.now;
        let mine = |pair: &&Pair| pair.shell == shell && !pair.ended;
        let scripts = self.pairs.iter().filter(mine).any(|pair| pair.session.scripts_in_flight() > 0);
        let fault = self.shells[shell].settle(scripts, now);
        for ticket in self.shells[shell].woken.clone() {
            let waits = |pair: &Pair| pair.shell == shell && pair.place == Place::Waiting(ticket);
            if let Some(at) = self.pairs.iter().position(waits) {
                self.note(&Step::Woken(at));
                self.ready.insert(at);
            }
        }
        let events: Vec<_> = self.shells[shell].gate.events().collect();
        for event in events {
            self.tell(shell, event);
        }
        if let Some(fault) = fault {
            self.fault(&fault);
        }
    }

    pub(crate) fn tell(&mut self, shell: usize, event: Event) {
        self.note(&Step::Told(shell, &event));
        self.events.push((self.now, event));
    }

    pub(crate) fn note(&mut self, step: &Step<'_>) {
        self.trace.note(self.now, step);
    }

    /// What must not be.
    pub(crate) fn fault(&mut self, text: &str) {
        self.note(&Step::Fault(text));
        self.faults.push(text.to_owned());
    }
}
