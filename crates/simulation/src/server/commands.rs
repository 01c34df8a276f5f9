//! What the commands do.

use std::time::Duration;

use unbusy_core::Time;

use super::conn::{Blocked, bulk};
use super::{Flavor, Key, Server, Value, What};
use crate::BUSY;

const KNOWN: [&str; 29] = [
    "APPEND",
    "AUTH",
    "BLPOP",
    "CLIENT",
    "DEL",
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
    "TIME",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
];
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
const KILLED: &str = "-ERR Script killed by user with SCRIPT KILL...\r\n";

/// A reply, what it is if the script in it is killed, and for how long scripts run before it is given.
pub(super) struct Answer {
    pub(super) reply: String,
    pub(super) killed: String,
    pub(super) runs: Duration,
}

impl From<String> for Answer {
    fn from(reply: String) -> Self {
        Self { killed: reply.clone(), reply, runs: Duration::ZERO }
    }
}

impl Server {
    /// What is refused before the server looks whether it is busy.
    pub(super) fn refuse(&self, at: usize, name: &str, words: &[String]) -> Option<String> {
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
        (conn.is_subscriber() && !conn.resp3 && !fits.contains(&name))
            .then(|| format!("-ERR Can't execute '{name}' in this context\r\n"))
    }

    /// Whether a busy server executes it all the same.
    pub(super) fn allowed(&self, name: &str, words: &[String]) -> bool {
        let flavor = self.settings.flavor;
        match name {
            "MULTI" | "DISCARD" | "WATCH" | "UNWATCH" => true,
            "SCRIPT" => words[1].eq_ignore_ascii_case("KILL"),
            "AUTH" | "HELLO" | "RESET" | "QUIT" => flavor != Flavor::Strict,
            "SELECT" | "CLIENT" => flavor == Flavor::Valkey9,
            _ => false,
        }
    }

    /// Whether CLIENT PAUSE keeps it waiting.
    pub(super) fn is_paused(&self, at: usize, name: &str) -> bool {
        let writes = |name: &str| {
            matches!(name, "SET" | "DEL" | "APPEND" | "INCR" | "RPUSH" | "BLPOP" | "PUBLISH" | "EVAL")
        };
        let Some(pause) = &self.pause else { return false };
        let queue = self.conns[at].multi.as_ref().filter(|_| name == "EXEC");
        pause.all || writes(name) || queue.is_some_and(|queue| queue.iter().any(|words| writes(&words[0])))
    }

    pub(super) fn reject(&mut self, at: usize, name: &str) -> String {
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

    /// `None`: no reply yet.
    pub(super) fn accept(&mut self, at: usize, name: &str, words: Vec<String>, now: Time) -> Option<String> {
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
                let answer = self.eval(at, &words, now);
                self.reply_or_run(at, answer, now)
            }
            "BLPOP" => self.pop_or_block(at, words, now),
            _ => Some(self.call(at, name, &words, now)),
        }
    }

    fn exec(&mut self, at: usize, now: Time) -> Option<String> {
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
            return Some(conn.null().into());
        }
        let header = format!("*{}\r\n", queue.len());
        let mut whole = Answer::from(header);
        for words in queue {
            let name = words[0].to_uppercase();
            let part = if name == "EVAL" {
                self.eval(at, &words, now)
            } else {
                self.call(at, &name, &words, now).into()
            };
            // Only one script can be killed, say the last.
            whole.killed =
                if part.runs.is_zero() { whole.killed } else { whole.reply.clone() } + &part.killed;
            whole.reply += &part.reply;
            whole.runs += part.runs;
        }
        self.reply_or_run(at, whole, now)
    }

    /// `EVAL run-150 0 tag` runs for 150 ms; `EVAL error-TEXT` answers with an error of its own.
    fn eval(&mut self, at: usize, words: &[String], now: Time) -> Answer {
        self.record(at, words, now);
        if let Some(text) = words[1].strip_prefix("error-") {
            return format!("-{}\r\n", text.replace('_', " ")).into();
        }
        let time = words[1].strip_prefix("run-").and_then(|ms| ms.parse().ok()).expect("run-MS");
        let reply = bulk(words.last().map_or("", String::as_str));
        Answer { reply, killed: KILLED.into(), runs: Duration::from_millis(time) }
    }

    fn reply_or_run(&mut self, at: usize, answer: Answer, now: Time) -> Option<String> {
        if answer.runs.is_zero() {
            return Some(answer.reply);
        }
        if self.settings.quiet {
            let killed = std::mem::take(&mut self.force_kill);
            if killed {
                self.mark_killed(at);
            }
            return Some(if killed { answer.killed } else { answer.reply });
        }
        self.run(at, answer, now);
        None
    }

    fn pop_or_block(&mut self, at: usize, words: Vec<String>, now: Time) -> Option<String> {
        self.record(at, &words, now);
        let key = (self.conns[at].db, words[1].clone());
        match self.pop(&key) {
            Ok(Some(item)) => Some(format!("*2\r\n{}{}", bulk(&key.1), bulk(&item))),
            Err(error) => Some(error),
            Ok(None) => {
                let wait = words[2].parse().expect("a time-out in ms");
                let until = now + Duration::from_millis(wait);
                self.conns[at].blocked = Some(Blocked { key, until, words });
                self.blocked.push_back(at);
                None
            }
        }
    }

    fn pop(&mut self, key: &Key) -> Result<Option<String>, String> {
        let list = match self.data.get_mut(key) {
            None => return Ok(None),
            Some(Value::Text(_)) => return Err(WRONG_TYPE.into()),
            Some(Value::List(list)) => list,
        };
        let item = list.remove(0);
        if list.is_empty() {
            self.data.remove(key);
        }
        *self.versions.entry(key.clone()).or_default() += 1;
        Ok(Some(item))
    }

    /// Those that wait for something to pop get what has come, first come first served.
    pub(super) fn serve_blocked(&mut self) {
        let mut waiting = std::mem::take(&mut self.blocked);
        waiting.retain(|&at| {
            let Some(blocked) = self.conns[at].blocked.clone() else { return false };
            let Ok(Some(item)) = self.pop(&blocked.key) else { return true };
            let conn = &mut self.conns[at];
            conn.blocked = None;
            conn.say(&format!("*2\r\n{}{}", bulk(&blocked.key.1), bulk(&item)));
            conn.command_done();
            false
        });
        self.blocked = waiting;
    }

    #[expect(clippy::too_many_lines, reason = "one arm per command")]
    fn call(&mut self, at: usize, name: &str, words: &[String], now: Time) -> String {
        // PING may be the session's own, and what CLIENT does nobody else notices.
        if !matches!(name, "CLIENT" | "PING") {
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
            // In a transaction it does not block.
            "BLPOP" => match self.pop(&key) {
                Ok(Some(item)) => format!("*2\r\n{}{}", bulk(&key.1), bulk(&item)),
                Ok(None) => self.conns[at].null().into(),
                Err(error) => error,
            },
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
                self.conns[at].reset();
                "+RESET\r\n".into()
            }
            "QUIT" => {
                self.conns[at].say("+OK\r\n");
                self.close_after(at);
                String::new()
            }
            "CLIENT" => self.client(at, words, now),
            "SCRIPT" => self.kill_script(now),
            _ => unreachable!("{name} is no command of the model"),
        }
    }

    fn change(&mut self, key: Key, value: Value) {
        *self.versions.entry(key.clone()).or_default() += 1;
        self.data.insert(key, value);
    }

    fn publish(&mut self, channel: &str, message: &str) -> String {
        let mut count = 0;
        for conn in &mut self.conns {
            if conn.channels.contains(channel) && !conn.closed {
                let kind = if conn.resp3 { '>' } else { '*' };
                let frame = format!("{kind}3\r\n{}{}{}", bulk("message"), bulk(channel), bulk(message));
                conn.out.extend(frame.bytes());
                count += 1;
            }
        }
        format!(":{count}\r\n")
    }

    fn kill_script(&mut self, now: Time) -> String {
        let killed = if self.settings.quiet {
            std::mem::take(&mut self.force_kill)
        } else if let Some(running) = &mut self.running {
            running.reply.clone_from(&running.killed);
            running.ends = now;
            let conn = running.conn;
            self.mark_killed(conn);
            true
        } else {
            false
        };
        if !killed {
            return "-NOTBUSY No scripts in execution right now.\r\n".into();
        }
        self.log.last_mut().expect("SCRIPT KILL itself").what = What::Killed;
        "+OK\r\n".into()
    }

    fn mark_killed(&mut self, conn: usize) {
        let runs = |words: &[String]| words.get(1).is_some_and(|script| script.starts_with("run-"));
        let script = self.log.iter_mut().rev().find(|entry| entry.conn == conn && runs(&entry.words));
        script.expect("the script was recorded when it began").what = What::Killed;
    }

    fn client(&mut self, at: usize, words: &[String], now: Time) -> String {
        if words[1].eq_ignore_ascii_case("PAUSE") && !self.settings.quiet {
            let until = now + Duration::from_millis(words[2].parse().expect("a time in ms"));
            self.pause(until, words[3].eq_ignore_ascii_case("ALL"));
        }
        if !words[1].eq_ignore_ascii_case("REPLY") {
            return "+OK\r\n".into();
        }
        let conn = &mut self.conns[at];
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
