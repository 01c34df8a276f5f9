//! A connection as the server sees it.

use std::collections::{BTreeMap, BTreeSet};

use unbusy_core::Time;

use super::Key;
use crate::parse;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Conn {
    /// Arrived and not read.
    pub(super) socket: Vec<u8>,
    /// The other side has closed, behind what arrived.
    pub(super) ended: bool,
    pub(super) accepted: bool,
    /// Read and not executed.
    pub(super) query: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) db: u32,
    pub(super) multi: Option<Vec<Vec<String>>>,
    pub(super) dirty: bool,
    pub(super) watched: BTreeMap<Key, u64>,
    pub(super) channels: BTreeSet<String>,
    patterns: BTreeSet<String>,
    pub(super) resp3: bool,
    pub(super) muted: bool,
    pub(super) skip: bool,
    pub(super) skip_next: bool,
    pub(super) blocked: Option<Blocked>,
    /// Its next command waits for the end of CLIENT PAUSE.
    pub(super) postponed: bool,
    pub(super) closed: bool,
}

/// Waits for something to pop.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    pub(super) key: Key,
    pub(super) until: Time,
    pub(super) words: Vec<String>,
}

impl Conn {
    pub(super) const fn has_input(&self) -> bool {
        !self.closed && (self.ended || !self.socket.is_empty() || !self.query.is_empty())
    }

    pub(super) fn has_work(&self) -> bool {
        self.ended || !self.socket.is_empty() || parse(&self.query).is_some()
    }

    pub(super) const fn can_go_on(&self) -> bool {
        self.blocked.is_none() && !self.postponed && !self.closed
    }

    pub(super) fn say(&mut self, reply: &str) {
        if !self.muted && !self.skip {
            self.out.extend(reply.as_bytes());
        }
    }

    pub(super) const fn command_done(&mut self) {
        self.skip = self.skip_next;
        self.skip_next = false;
    }

    pub(super) fn end_transaction(&mut self) {
        self.multi = None;
        self.dirty = false;
        self.watched.clear();
    }

    /// RESET; CLIENT REPLY SKIP holds for it, too.
    pub(super) fn reset(&mut self) {
        let old = std::mem::take(self);
        *self = Self {
            socket: old.socket,
            ended: old.ended,
            accepted: old.accepted,
            query: old.query,
            out: old.out,
            skip: old.skip,
            ..Self::default()
        };
    }

    pub(super) const fn null(&self) -> &'static str {
        if self.resp3 { "_\r\n" } else { "*-1\r\n" }
    }

    pub(super) const fn null_bulk(&self) -> &'static str {
        if self.resp3 { "_\r\n" } else { "$-1\r\n" }
    }

    pub(super) fn is_subscriber(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    pub(super) fn pong(&self) -> String {
        let text =
            if self.is_subscriber() && !self.resp3 { "*2\r\n$4\r\npong\r\n$0\r\n\r\n" } else { "+PONG\r\n" };
        text.into()
    }

    pub(super) fn hello(&mut self, version: Option<&str>) -> String {
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
    pub(super) fn subscribe(&mut self, command: &str, names: &[String]) -> String {
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

pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
