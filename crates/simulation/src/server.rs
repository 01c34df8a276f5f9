//! A model of the server, as far as BUSY goes: it stalls while a script runs, rejects commands in hooks once the
//! threshold is over, and keeps a list of what it executed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use unbusy_core::Time;

use crate::{BUSY, MS, Rng, parse};

/// What one client's socket gives at one reading, idle and in a hook.
const READ_BYTES: usize = 16 * 1024;
const HOOK_BYTES: usize = 32 * 1024;

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
    /// Scripts and blocking commands take no time: the quiet server that others are compared with.
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

/// A command that was executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// When.
    pub at: Time,
    /// For which connection.
    pub conn: usize,
    /// In which database.
    pub db: u32,
    /// What.
    pub words: Vec<String>,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    List(Vec<String>),
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Conn {
    /// Arrived and not read.
    socket: Vec<u8>,
    /// Read and not executed.
    query: Vec<u8>,
    out: Vec<u8>,
    db: u32,
    multi: Option<Vec<Vec<String>>>,
    dirty: bool,
    watched: BTreeMap<(u32, String), u64>,
    channels: BTreeSet<String>,
    patterns: BTreeSet<String>,
    resp3: bool,
    muted: bool,
    skip: bool,
    skip_next: bool,
    blocked_until: Option<Time>,
    closed: bool,
}

#[derive(Debug)]
struct Running {
    conn: usize,
    ends: Time,
    next_hook: Time,
    /// The first hook was: the server reads and writes again.
    hooked: bool,
    reply: String,
    rejections: usize,
}

/// The server. See the module's documentation.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    conns: Vec<Conn>,
    data: BTreeMap<(u32, String), Value>,
    versions: BTreeMap<(u32, String), u64>,
    running: Option<Running>,
    /// When the event loop looks at the sockets.
    iteration: Option<Time>,
    /// What the iteration, interrupted by a script, has still to look at.
    todo: VecDeque<usize>,
    rng: Rng,
    /// All that was executed, in order.
    pub log: Vec<Executed>,
    /// A client's CLIENT REPLY OFF or SKIP came through.
    pub saw_mute: bool,
    /// EXEC under WATCH answers null once: a watched key changed.
    pub force_null: bool,
    /// How many commands were rejected.
    pub rejections: usize,
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
            iteration: None,
            todo: VecDeque::new(),
            rng,
            log: Vec::new(),
            saw_mute: false,
            force_null: false,
            rejections: 0,
        }
    }

    /// A new connection.
    pub fn connect(&mut self) -> usize {
        self.conns.push(Conn::default());
        self.conns.len() - 1
    }

    /// Bytes arrive.
    pub fn receive(&mut self, conn: usize, bytes: &[u8], now: Time) {
        if self.conns[conn].closed {
            return;
        }
        self.conns[conn].socket.extend_from_slice(bytes);
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

    /// When something happens next of its own accord.
    pub fn next(&self) -> Time {
        if let Some(running) = &self.running {
            running.ends.min(running.next_hook)
        } else {
            let unblocked = self.conns.iter().filter_map(|conn| conn.blocked_until).min();
            self.iteration.unwrap_or(Time::NEVER).min(unblocked.unwrap_or(Time::NEVER))
        }
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

    fn is_stalled(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.hooked)
    }

    fn iterate(&mut self, now: Time) {
        self.iteration = None;
        for conn in &mut self.conns {
            if conn.blocked_until.is_some_and(|until| until <= now) {
                conn.blocked_until = None;
                let null = conn.null();
                conn.say(null);
                conn.command_done();
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
            self.read(conn, READ_BYTES);
            self.run_commands(conn, now);
            if self.running.is_some() {
                return;
            }
        }
        if self.conns.iter().any(|conn| conn.has_work() && conn.can_go_on()) {
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
            self.read(conn, HOOK_BYTES);
            self.run_commands(conn, now);
        }
        if self.running.is_none() {
            self.iteration = Some(now);
        }
    }

    fn end_script(&mut self, now: Time) {
        let Some(running) = self.running.take() else { return };
        let conn = &mut self.conns[running.conn];
        conn.say(running.reply);
        conn.command_done();
        self.todo.push_front(running.conn);
        self.work(now);
    }

    fn read(&mut self, conn: usize, most: usize) {
        let conn = &mut self.conns[conn];
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
            self.conns[at].query.drain(..length);
            if words.is_empty() {
                continue;
            }
            self.command(at, words, now);
        }
    }

    fn command(&mut self, at: usize, words: Vec<String>, now: Time) {
        let name = words[0].to_uppercase();
        let reply = match self.refuse(at, &name, &words) {
            Some(error) => {
                self.conns[at].dirty |= self.conns[at].multi.is_some();
                Some(error)
            }
            None if self.running.is_some() && !self.allowed(&name, &words) => {
                self.rejections += 1;
                Some(self.reject(at, &name))
            }
            None => self.accept(at, &name, words, now),
        };
        if let Some(reply) = reply {
            let confirms = name.ends_with("SUBSCRIBE") && !reply.starts_with(['-', '+']);
            if confirms {
                // Confirmations are pushes: CLIENT REPLY does not keep them back.
                self.conns[at].out.extend(reply.into_bytes());
            } else {
                self.conns[at].say(reply);
            }
            self.conns[at].command_done();
        }
        self.end_inside_hook(now);
    }

    fn end_inside_hook(&mut self, now: Time) {
        let limit = self.settings.ends_after.unwrap_or(usize::MAX);
        if self.running.as_ref().is_some_and(|running| running.rejections >= limit) {
            self.end_script(now);
        }
    }

    /// What is refused before the server looks whether it is busy.
    fn refuse(&self, at: usize, name: &str, words: &[String]) -> Option<String> {
        const KNOWN: [&str; 29] = [
            "APPEND",
            "AUTH",
            "BLPOP",
            "CLIENT",
            "DISCARD",
            "ECHO",
            "EVAL",
            "EXEC",
            "GET",
            "HELLO",
            "INCR",
            "LRANGE",
            "MULTI",
            "PING",
            "PSUBSCRIBE",
            "PUBLISH",
            "PUNSUBSCRIBE",
            "QUIT",
            "RESET",
            "RPUSH",
            "SCRIPT",
            "SELECT",
            "SET",
            "SUBSCRIBE",
            "UNSUBSCRIBE",
            "UNWATCH",
            "WATCH",
            "DEL",
            "TIME",
        ];
        let conn = &self.conns[at];
        if !KNOWN.contains(&name) {
            return Some(format!("-ERR unknown command '{}'\r\n", words[0]));
        }
        if matches!(name, "SET" | "GET" | "INCR" | "RPUSH") && words.len() < 2 {
            return Some("-ERR wrong number of arguments\r\n".into());
        }
        if conn.multi.is_some() && name == "WATCH" {
            return Some("-ERR WATCH inside MULTI is not allowed\r\n".into());
        }
        let fits = ["SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PING", "QUIT", "RESET"];
        let subscribed = !conn.channels.is_empty() || !conn.patterns.is_empty();
        (subscribed && !conn.resp3 && !fits.contains(&name))
            .then(|| format!("-ERR Can't execute '{name}' in this context\r\n"))
    }

    fn allowed(&self, name: &str, words: &[String]) -> bool {
        let flavor = self.settings.flavor;
        match name {
            "MULTI" | "DISCARD" | "WATCH" | "UNWATCH" => true,
            "SCRIPT" => words[1].eq_ignore_ascii_case("KILL"),
            "AUTH" | "HELLO" | "RESET" | "QUIT" => flavor != Flavor::Strict,
            "SELECT" | "CLIENT" => flavor == Flavor::Valkey9,
            _ => false,
        }
    }

    fn reject(&mut self, at: usize, name: &str) -> String {
        if let Some(running) = &mut self.running {
            running.rejections += 1;
        }
        let conn = &mut self.conns[at];
        if name == "EXEC" {
            conn.end_transaction();
            return format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
        }
        conn.dirty |= conn.multi.is_some();
        BUSY.into()
    }

    fn accept(&mut self, at: usize, name: &str, words: Vec<String>, now: Time) -> Option<String> {
        let conn = &mut self.conns[at];
        let ends = matches!(name, "EXEC" | "DISCARD" | "MULTI" | "QUIT" | "RESET");
        if let Some(queue) = conn.multi.as_mut().filter(|_| !ends) {
            queue.push(words);
            return Some("+QUEUED\r\n".into());
        }
        match name {
            "MULTI" if conn.multi.is_some() => Some("-ERR MULTI calls can not be nested\r\n".into()),
            "MULTI" => {
                conn.multi = Some(Vec::new());
                conn.dirty = false;
                Some("+OK\r\n".into())
            }
            "DISCARD" if conn.multi.is_none() => Some("-ERR DISCARD without MULTI\r\n".into()),
            "DISCARD" => {
                conn.end_transaction();
                Some("+OK\r\n".into())
            }
            "EXEC" => self.exec(at, now),
            "EVAL" => {
                let (reply, runs) = self.eval(at, &words, now);
                self.reply_or_run(at, reply, runs, now)
            }
            "BLPOP" if !self.settings.quiet => {
                self.record(at, &words, now);
                let wait = words[2].parse().expect("a time-out in ms");
                self.conns[at].blocked_until = Some(now + Duration::from_millis(wait));
                None
            }
            _ => Some(self.call(at, name, &words, now)),
        }
    }

    fn exec(&mut self, at: usize, now: Time) -> Option<String> {
        let null = self.conns[at].null();
        let versions = &self.versions;
        let conn = &mut self.conns[at];
        let Some(queue) = conn.multi.take() else { return Some("-ERR EXEC without MULTI\r\n".into()) };
        let current = |key| versions.get(key).copied().unwrap_or(0);
        let changed = conn.watched.iter().any(|(key, version)| current(key) != *version);
        let forced = !conn.watched.is_empty() && std::mem::take(&mut self.force_null);
        let dirty = conn.dirty;
        conn.end_transaction();
        if dirty {
            return Some("-EXECABORT Transaction discarded because of previous errors.\r\n".into());
        }
        if changed || forced {
            return Some(null);
        }
        let mut reply = format!("*{}\r\n", queue.len());
        let mut runs = Duration::ZERO;
        for words in queue {
            let name = words[0].to_uppercase();
            if name == "EVAL" {
                let (part, time) = self.eval(at, &words, now);
                reply.push_str(&part);
                runs += time;
            } else {
                let part = self.call(at, &name, &words, now);
                reply.push_str(&part);
            }
        }
        self.reply_or_run(at, reply, runs, now)
    }

    /// `EVAL "run-150" 0 tag` runs for 150 ms; `EVAL "error-TEXT"` answers with an error of its own.
    fn eval(&mut self, at: usize, words: &[String], now: Time) -> (String, Duration) {
        self.record(at, words, now);
        if let Some(text) = words[1].strip_prefix("error-") {
            return (format!("-{}\r\n", text.replace('_', " ")), Duration::ZERO);
        }
        let time = words[1].strip_prefix("run-").and_then(|ms| ms.parse().ok()).expect("run-MS");
        (bulk(words.last().map_or("", String::as_str)), Duration::from_millis(time))
    }

    fn reply_or_run(&mut self, at: usize, reply: String, runs: Duration, now: Time) -> Option<String> {
        if runs.is_zero() || self.settings.quiet {
            return Some(reply);
        }
        let next_hook = self.settings.threshold.map_or(Time::NEVER, |threshold| now + threshold);
        self.running =
            Some(Running { conn: at, ends: now + runs, next_hook, hooked: false, reply, rejections: 0 });
        None
    }

    fn record(&mut self, conn: usize, words: &[String], at: Time) {
        let db = self.conns[conn].db;
        self.log.push(Executed { at, conn, db, words: words.to_vec() });
    }

    #[expect(clippy::too_many_lines, reason = "one arm per command")]
    fn call(&mut self, at: usize, name: &str, words: &[String], now: Time) -> String {
        if !matches!(name, "CLIENT" | "SCRIPT") {
            self.record(at, words, now);
        }
        let db = self.conns[at].db;
        let key = (db, words.get(1).cloned().unwrap_or_default());
        match name {
            "PING" => self.conns[at].pong(),
            "ECHO" => bulk(&words[1]),
            "TIME" => "*2\r\n$1\r\n1\r\n$1\r\n2\r\n".into(),
            "GET" => match self.data.get(&key) {
                Some(Value::Text(text)) => bulk(text),
                Some(Value::List(_)) => WRONG_TYPE.into(),
                None => self.conns[at].null_bulk().into(),
            },
            "SET" => {
                self.change(key, Value::Text(words[2].clone()));
                "+OK\r\n".into()
            }
            "DEL" => {
                *self.versions.entry(key.clone()).or_default() += 1;
                format!(":{}\r\n", u8::from(self.data.remove(&key).is_some()))
            }
            "APPEND" => {
                let old = match self.data.get(&key) {
                    Some(Value::Text(text)) => text.clone(),
                    Some(Value::List(_)) => return WRONG_TYPE.into(),
                    None => String::new(),
                };
                let new = old + &words[2];
                let length = new.len();
                self.change(key, Value::Text(new));
                format!(":{length}\r\n")
            }
            "INCR" => {
                let old = match self.data.get(&key) {
                    Some(Value::Text(text)) => text.parse::<i64>().ok(),
                    Some(Value::List(_)) => return WRONG_TYPE.into(),
                    None => Some(0),
                };
                let Some(old) = old else {
                    return "-ERR value is not an integer or out of range\r\n".into();
                };
                self.change(key, Value::Text((old + 1).to_string()));
                format!(":{}\r\n", old + 1)
            }
            "RPUSH" => {
                let mut list = match self.data.get(&key) {
                    Some(Value::List(list)) => list.clone(),
                    Some(Value::Text(_)) => return WRONG_TYPE.into(),
                    None => Vec::new(),
                };
                list.extend(words[2..].iter().cloned());
                let length = list.len();
                self.change(key, Value::List(list));
                format!(":{length}\r\n")
            }
            "LRANGE" => match self.data.get(&key) {
                Some(Value::List(list)) => {
                    list.iter().fold(format!("*{}\r\n", list.len()), |all, item| all + &bulk(item))
                }
                Some(Value::Text(_)) => WRONG_TYPE.into(),
                None => "*0\r\n".into(),
            },
            "BLPOP" => self.conns[at].null(),
            "PUBLISH" => self.publish(&words[1], &words[2]),
            "SUBSCRIBE" | "UNSUBSCRIBE" | "PSUBSCRIBE" | "PUNSUBSCRIBE" => {
                self.conns[at].subscribe(&name.to_lowercase(), &words[1..])
            }
            "SELECT" => match words[1].parse() {
                Ok(db) if db < 16 => {
                    self.conns[at].db = db;
                    "+OK\r\n".into()
                }
                _ => "-ERR DB index is out of range\r\n".into(),
            },
            "AUTH" if words[1] == "pw" => "+OK\r\n".into(),
            "AUTH" => "-WRONGPASS invalid username-password pair or user is disabled.\r\n".into(),
            "HELLO" => self.conns[at].hello(words.get(1).map(String::as_str)),
            "WATCH" => {
                for key in &words[1..] {
                    let key = (db, key.clone());
                    let version = self.versions.get(&key).copied().unwrap_or(0);
                    self.conns[at].watched.entry(key).or_insert(version);
                }
                "+OK\r\n".into()
            }
            "UNWATCH" => {
                self.conns[at].watched.clear();
                "+OK\r\n".into()
            }
            "RESET" => {
                let old = std::mem::take(&mut self.conns[at]);
                // CLIENT REPLY SKIP holds for RESET itself, too.
                self.conns[at] = Conn {
                    socket: old.socket,
                    query: old.query,
                    out: old.out,
                    skip: old.skip,
                    ..Conn::default()
                };
                "+RESET\r\n".into()
            }
            "QUIT" => {
                self.conns[at].say("+OK\r\n".into());
                self.conns[at].closed = true;
                String::new()
            }
            "CLIENT" => self.client(at, words),
            "SCRIPT" => match &mut self.running {
                Some(running) => {
                    running.reply = "-ERR Script killed by user with SCRIPT KILL...\r\n".into();
                    running.ends = now;
                    "+OK\r\n".into()
                }
                None => "-NOTBUSY No scripts in execution right now.\r\n".into(),
            },
            _ => unreachable!("{name} is no command of the model"),
        }
    }

    fn change(&mut self, key: (u32, String), value: Value) {
        *self.versions.entry(key.clone()).or_default() += 1;
        self.data.insert(key, value);
    }

    fn publish(&mut self, channel: &str, message: &str) -> String {
        let mut count = 0;
        for conn in &mut self.conns {
            if conn.channels.contains(channel) {
                let kind = if conn.resp3 { '>' } else { '*' };
                let frame = format!("{kind}3\r\n{}{}{}", bulk("message"), bulk(channel), bulk(message));
                conn.out.extend(frame.bytes());
                count += 1;
            }
        }
        format!(":{count}\r\n")
    }

    fn client(&mut self, at: usize, words: &[String]) -> String {
        let conn = &mut self.conns[at];
        if !words[1].eq_ignore_ascii_case("REPLY") {
            return "+OK\r\n".into();
        }
        match words[2].to_uppercase().as_str() {
            "ON" => {
                conn.muted = false;
                conn.skip = false;
                return "+OK\r\n".into();
            }
            "OFF" => conn.muted = true,
            _ => conn.skip_next = !conn.muted,
        }
        self.saw_mute = true;
        String::new()
    }
}

impl Conn {
    const fn has_input(&self) -> bool {
        !self.socket.is_empty() || !self.query.is_empty()
    }

    fn has_work(&self) -> bool {
        !self.socket.is_empty() || parse(&self.query).is_some()
    }

    const fn can_go_on(&self) -> bool {
        self.blocked_until.is_none() && !self.closed
    }

    fn say(&mut self, reply: String) {
        if !self.muted && !self.skip {
            self.out.extend(reply.into_bytes());
        }
    }

    const fn command_done(&mut self) {
        self.skip = self.skip_next;
        self.skip_next = false;
    }

    fn end_transaction(&mut self) {
        self.multi = None;
        self.dirty = false;
        self.watched.clear();
    }

    fn null(&self) -> String {
        if self.resp3 { "_\r\n".into() } else { "*-1\r\n".into() }
    }

    const fn null_bulk(&self) -> &'static str {
        if self.resp3 { "_\r\n" } else { "$-1\r\n" }
    }

    fn pong(&self) -> String {
        let subscribed = !self.channels.is_empty() || !self.patterns.is_empty();
        if subscribed && !self.resp3 { "*2\r\n$4\r\npong\r\n$0\r\n\r\n".into() } else { "+PONG\r\n".into() }
    }

    fn hello(&mut self, version: Option<&str>) -> String {
        match version {
            Some("3") => self.resp3 = true,
            Some("2") => self.resp3 = false,
            Some(_) => return "-NOPROTO unsupported protocol version\r\n".into(),
            None => {}
        }
        let header = if self.resp3 { "%1" } else { "*2" };
        format!("{header}\r\n{}{}", bulk("server"), bulk("redis"))
    }

    /// One confirmation per name; UNSUBSCRIBE without names confirms every subscription, or none at all once.
    fn subscribe(&mut self, command: &str, names: &[String]) -> String {
        let adds = !command.contains("unsub");
        let of_patterns = command.starts_with('p');
        let names: Vec<Option<String>> = if names.is_empty() {
            let all = if of_patterns { &self.patterns } else { &self.channels };
            let all: Vec<_> = all.iter().cloned().map(Some).collect();
            if all.is_empty() { vec![None] } else { all }
        } else {
            names.iter().cloned().map(Some).collect()
        };
        let mut reply = String::new();
        for name in names {
            let set = if of_patterns { &mut self.patterns } else { &mut self.channels };
            if let Some(name) = &name {
                if adds {
                    set.insert(name.clone());
                } else {
                    set.remove(name);
                }
            }
            let total = self.channels.len() + self.patterns.len();
            let kind = if self.resp3 { '>' } else { '*' };
            let name = name.map_or_else(|| self.null_bulk().to_owned(), |name| bulk(&name));
            let confirmation = format!("{kind}3\r\n{}{name}:{total}\r\n", bulk(command));
            reply.push_str(&confirmation);
        }
        reply
    }
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
