//! A model of the server, as far as BUSY goes: it stalls while a script runs, rejects commands in hooks once the
//! threshold is over, and keeps a list of what it executed.

mod commands;
mod conn;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use unbusy_core::Time;

use crate::{MS, Rng, parse};
use commands::Answer;
use conn::Conn;

/// What one client's socket gives at one reading: idle, in a hook, and in the hook that accepts it first; at least.
const READ_BYTES: usize = 16 * 1024;
const HOOK_BYTES: usize = 48 * 1024;
const FIRST_HOOK_BYTES: usize = 32 * 1024;

/// Database and name.
type Key = (u32, String);

/// Which commands a busy server executes all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// AUTH, HELLO, RESET, QUIT, MULTI, DISCARD, WATCH, UNWATCH.
    Redis7,
    /// Those, SELECT and some of CLIENT.
    Valkey9,
    /// None but MULTI and its kin: what a server could be that rejects AUTH and HELLO, too.
    Strict,
}

/// What the server is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a script runs before BUSY; `None`: for ever.
    pub threshold: Option<Duration>,
    /// The time between two hooks in a script.
    pub hook_every: Duration,
    /// What it executes while it is busy.
    pub flavor: Flavor,
    /// A script ends inside a hook, right after so many rejections: no real server does.
    pub ends_after: Option<usize>,
    /// Scripts take no time, and who waits for something to pop is told when to stop: the quiet server that others are
    /// compared with.
    pub quiet: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: Some(100 * MS),
            hook_every: 2 * MS,
            flavor: Flavor::Redis7,
            ends_after: None,
            quiet: false,
        }
    }
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// Executed.
    Done,
    /// A script that was killed, and the command that did it.
    Killed,
    /// Blocked before, and over without anything to pop.
    TimedOut,
    /// No command: the connection ended.
    Closed,
}

/// A command that was executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// When.
    pub at: Time,
    /// For which connection.
    pub conn: usize,
    /// In which database.
    pub db: u32,
    /// The command.
    pub words: Vec<String>,
    /// How it went.
    pub what: What,
    /// The commands of a transaction have the same number.
    pub batch: u64,
}

impl Executed {
    /// Whether a command was executed now.
    pub const fn is_command(&self) -> bool {
        matches!(self.what, What::Done | What::Killed)
    }
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    List(Vec<String>),
}

#[derive(Debug)]
struct Running {
    conn: usize,
    ends: Time,
    next_hook: Time,
    /// The first hook was: the server reads and writes again.
    hooked: bool,
    reply: String,
    /// The reply if it is killed.
    killed: String,
    rejections: usize,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Time,
    /// Not writes only.
    all: bool,
}

/// The server. See the module's documentation.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    conns: Vec<Conn>,
    data: BTreeMap<Key, Value>,
    versions: BTreeMap<Key, u64>,
    running: Option<Running>,
    /// Who waits for something to pop, the first first.
    blocked: VecDeque<usize>,
    pause: Option<Pause>,
    /// When the event loop looks at the sockets.
    iteration: Option<Time>,
    /// What the iteration, interrupted by a script, has still to look at.
    todo: VecDeque<usize>,
    /// Connections that the server has ended, to be told to the other side.
    closing: Vec<usize>,
    rng: Rng,
    batch: u64,
    /// All that was executed, in order.
    pub log: Vec<Executed>,
    /// What was rejected, in order: for which connection, and which command.
    pub rejected: Vec<(usize, String)>,
    /// A client's CLIENT REPLY OFF or SKIP came through.
    pub saw_mute: bool,
    /// EXEC under WATCH answers null once: a watched key changed.
    pub force_null: bool,
    /// A script is killed once, and the next SCRIPT KILL finds one.
    pub force_kill: bool,
}

impl Server {
    /// A server without data and clients.
    pub const fn new(settings: Settings, rng: Rng) -> Self {
        Self {
            settings,
            conns: Vec::new(),
            data: BTreeMap::new(),
            versions: BTreeMap::new(),
            running: None,
            blocked: VecDeque::new(),
            pause: None,
            iteration: None,
            todo: VecDeque::new(),
            closing: Vec::new(),
            rng,
            batch: 0,
            log: Vec::new(),
            rejected: Vec::new(),
            saw_mute: false,
            force_null: false,
            force_kill: false,
        }
    }

    /// A new connection.
    pub fn connect(&mut self) -> usize {
        self.conns.push(Conn::default());
        self.conns.len() - 1
    }

    /// Bytes arrive; none: the other side has closed.
    pub fn receive(&mut self, conn: usize, bytes: &[u8], now: Time) {
        let receiver = &mut self.conns[conn];
        if receiver.closed {
            return;
        }
        receiver.socket.extend_from_slice(bytes);
        receiver.ended |= bytes.is_empty();
        self.wake(now);
    }

    fn wake(&mut self, now: Time) {
        if self.running.is_none() && self.iteration.is_none() {
            let wait = Duration::from_micros(self.rng.below(50));
            self.iteration = Some(now + wait);
        }
    }

    /// Whether the connection watches a key.
    pub fn watches(&self, conn: usize) -> bool {
        !self.conns[conn].watched.is_empty()
    }

    /// Whether the connection's commands are answered in the newer protocol.
    pub fn is_resp3(&self, conn: usize) -> bool {
        self.conns[conn].resp3
    }

    /// Whether the connection is between MULTI and EXEC.
    pub fn is_in_transaction(&self, conn: usize) -> bool {
        self.conns[conn].multi.is_some()
    }

    /// Whether the connection's replies are suppressed.
    pub fn is_muted(&self, conn: usize) -> bool {
        self.conns[conn].muted || self.conns[conn].skip
    }

    /// Whether the connection waits for something to pop.
    pub fn is_blocked(&self, conn: usize) -> bool {
        self.conns[conn].blocked.is_some()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self, conn: usize) -> bool {
        self.conns[conn].closed
    }

    /// Whether nothing keeps the server from executing what comes.
    pub const fn is_open(&self) -> bool {
        self.running.is_none() && self.pause.is_none()
    }

    /// Whether it rejects commands now.
    pub fn is_busy(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.hooked)
    }

    /// A transaction that will be refused.
    pub fn spoil(&mut self, conn: usize) {
        self.conns[conn].dirty |= self.conns[conn].multi.is_some();
    }

    /// Whether EXEC will be refused.
    pub fn is_spoiled(&self, conn: usize) -> bool {
        self.conns[conn].dirty
    }

    /// A command whose reply nobody would see is left out.
    pub fn pass_over(&mut self, conn: usize) {
        self.conns[conn].command_done();
    }

    /// EXEC was refused.
    pub fn discard(&mut self, conn: usize) {
        self.conns[conn].end_transaction();
    }

    /// When something happens next of its own accord.
    pub fn next(&self) -> Time {
        if let Some(running) = &self.running {
            return running.ends.min(running.next_hook);
        }
        let blocked = self.conns.iter().filter_map(|conn| conn.blocked.as_ref());
        let times = blocked.filter(|_| !self.settings.quiet).map(|blocked| blocked.until);
        let others = [self.iteration, self.pause.map(|pause| pause.until)];
        times.chain(others.into_iter().flatten()).min().unwrap_or(Time::NEVER)
    }

    /// Does what is due.
    pub fn advance(&mut self, now: Time) {
        while self.next() <= now {
            match &self.running {
                Some(running) if running.ends <= now => self.end_script(now),
                Some(_) => self.hook(now),
                None => self.iterate(now),
            }
        }
    }

    /// What leaves for the clients. Replies are written at the end of an iteration of the event loop, and in hooks: a
    /// script keeps those of the commands right before it until the stall is over.
    pub fn take_sent(&mut self) -> Vec<(usize, Vec<u8>)> {
        if self.is_stalled() {
            return Vec::new();
        }
        let full = self.conns.iter_mut().enumerate().filter(|(_, conn)| !conn.out.is_empty());
        full.map(|(at, conn)| (at, std::mem::take(&mut conn.out))).collect()
    }

    /// The connections that the server has ended; what it said before has been taken.
    pub fn take_closed(&mut self) -> Vec<usize> {
        if self.is_stalled() { Vec::new() } else { std::mem::take(&mut self.closing) }
    }

    /// The same, whatever keeps the server from telling.
    pub fn take_closed_now(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.closing)
    }

    /// Whether it is silent.
    pub fn is_stalled(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.hooked)
    }

    /// The server dies: all connections end, and what it has not said is lost. Its data is on disk.
    pub fn crash(&mut self, now: Time) {
        self.running = None;
        self.iteration = None;
        self.pause = None;
        self.todo.clear();
        for conn in 0..self.conns.len() {
            self.cut(conn, now);
        }
    }

    /// Ends a connection at once.
    pub fn cut(&mut self, conn: usize, now: Time) {
        if !self.conns[conn].closed {
            self.conns[conn].out.clear();
            self.close(conn, now);
        }
    }

    fn close(&mut self, conn: usize, now: Time) {
        self.batch += 1;
        self.note(conn, Vec::new(), What::Closed, now);
        self.close_after(conn);
    }

    /// No more commands; what was said still leaves.
    fn close_after(&mut self, at: usize) {
        let conn = &mut self.conns[at];
        conn.closed = true;
        conn.blocked = None;
        self.blocked.retain(|other| *other != at);
        self.closing.push(at);
    }

    /// Ends the wait of a connection for something to pop.
    pub fn time_out(&mut self, conn: usize, now: Time) {
        let Some(blocked) = self.conns[conn].blocked.take() else { return };
        self.blocked.retain(|other| *other != conn);
        self.batch += 1;
        self.note(conn, blocked.words, What::TimedOut, now);
        let conn = &mut self.conns[conn];
        conn.say(conn.null());
        conn.command_done();
    }

    fn pause(&mut self, until: Time, all: bool) {
        let all = all || self.pause.is_some_and(|pause| pause.all);
        let until = self.pause.map_or(until, |pause| pause.until.max(until));
        self.pause = Some(Pause { until, all });
    }

    fn iterate(&mut self, now: Time) {
        self.iteration = None;
        if self.pause.is_some_and(|pause| pause.until <= now) {
            self.pause = None;
            self.conns.iter_mut().for_each(|conn| conn.postponed = false);
        }
        for at in 0..self.conns.len() {
            let blocked = self.conns[at].blocked.as_ref();
            if blocked.is_some_and(|blocked| blocked.until <= now) && !self.settings.quiet {
                self.time_out(at, now);
            }
        }
        let mut order: Vec<usize> = (0..self.conns.len()).filter(|&at| self.conns[at].has_input()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.rng.index(at + 1));
        }
        self.todo = order.into();
        self.work(now);
    }

    fn work(&mut self, now: Time) {
        while let Some(conn) = self.todo.pop_front() {
            self.read(conn, READ_BYTES, now);
            self.run_commands(conn, now);
            if self.running.is_some() {
                return;
            }
        }
        let goes_on = |conn: &Conn| !conn.closed && (conn.ended || (conn.has_work() && conn.can_go_on()));
        if self.conns.iter().any(goes_on) {
            self.iteration = Some(now + Duration::from_micros(10));
        }
    }

    fn hook(&mut self, now: Time) {
        if let Some(running) = &mut self.running {
            running.next_hook = now + self.settings.hook_every;
            running.hooked = true;
        }
        for conn in 0..self.conns.len() {
            if self.running.as_ref().is_some_and(|running| running.conn == conn) {
                continue;
            }
            self.read(conn, if self.conns[conn].accepted { HOOK_BYTES } else { FIRST_HOOK_BYTES }, now);
            self.run_commands(conn, now);
        }
        if self.running.is_none() {
            self.iteration = Some(now);
        }
    }

    fn run(&mut self, conn: usize, answer: Answer, now: Time) {
        let Answer { reply, killed, runs } = answer;
        let next_hook = self.settings.threshold.map_or(Time::NEVER, |threshold| now + threshold);
        let ends = now + runs;
        self.running = Some(Running { conn, ends, next_hook, hooked: false, reply, killed, rejections: 0 });
    }

    fn end_script(&mut self, now: Time) {
        let Some(running) = self.running.take() else { return };
        let conn = &mut self.conns[running.conn];
        if !conn.closed {
            conn.say(&running.reply);
            conn.command_done();
        }
        self.serve_blocked();
        self.todo.push_front(running.conn);
        self.work(now);
    }

    /// The end of a connection is read behind all else, and not before the replies to it have left.
    fn read(&mut self, at: usize, most: usize, now: Time) {
        let conn = &mut self.conns[at];
        if conn.ended && !conn.closed && conn.socket.is_empty() && conn.out.is_empty() {
            self.close(at, now);
            return;
        }
        conn.accepted = true;
        let count = conn.socket.len().min(most);
        conn.query.extend(conn.socket.drain(..count));
    }

    fn run_commands(&mut self, at: usize, now: Time) {
        loop {
            let runs = self.running.as_ref().is_some_and(|running| running.conn == at);
            if runs || self.is_stalled() || !self.conns[at].can_go_on() {
                return;
            }
            let Some((words, length)) = parse(&self.conns[at].query) else { return };
            // Taken first: a script that ends inside a hook makes the next command be read in the midst of this one.
            let bytes: Vec<u8> = self.conns[at].query.drain(..length).collect();
            if !words.is_empty() && !self.command(at, words, now) {
                self.conns[at].query.splice(0..0, bytes);
                self.conns[at].postponed = true;
                return;
            }
        }
    }

    /// `false`: it has to wait for the end of a pause.
    fn command(&mut self, at: usize, words: Vec<String>, now: Time) -> bool {
        let name = words[0].to_uppercase();
        self.batch += 1;
        let reply = match self.refuse(at, &name, &words) {
            Some(error) => {
                self.conns[at].dirty |= self.conns[at].multi.is_some();
                Some(error)
            }
            None if self.running.is_some() && !self.allowed(&name, &words) => {
                self.rejected.push((at, name.clone()));
                Some(self.reject(at, &name))
            }
            None if self.is_paused(at, &name) => return false,
            None => self.accept(at, &name, words, now),
        };
        if let Some(reply) = reply {
            let confirms = name.ends_with("SUBSCRIBE") && !reply.starts_with(['-', '+']);
            if confirms {
                // Confirmations are pushes: CLIENT REPLY does not keep them back.
                self.conns[at].out.extend(reply.into_bytes());
            } else {
                self.conns[at].say(&reply);
            }
            self.conns[at].command_done();
        }
        if self.running.is_none() {
            self.serve_blocked();
        }
        self.end_inside_hook(now);
        true
    }

    fn end_inside_hook(&mut self, now: Time) {
        let limit = self.settings.ends_after.unwrap_or(usize::MAX);
        if self.running.as_ref().is_some_and(|running| running.rejections >= limit) {
            self.end_script(now);
        }
    }

    fn record(&mut self, conn: usize, words: &[String], at: Time) {
        self.note(conn, words.to_vec(), What::Done, at);
    }

    fn note(&mut self, conn: usize, words: Vec<String>, what: What, at: Time) {
        let (db, batch) = (self.conns[conn].db, self.batch);
        self.log.push(Executed { at, conn, db, words, what, batch });
    }
}
