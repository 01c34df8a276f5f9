//! Everything that is asked of a server, and what it told.

use std::collections::BTreeMap;
use std::time::Duration;

use unbusy_core::DEFAULT_THRESHOLD;
use unbusy_proxy::Address;

use crate::asking::{Condition, Link, Reply, field, info_lines, printable};
use crate::cli::{ServerSettings, ServerUrl};

/// What a server told of itself. Where it refused, or does not know the question, there is nothing.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) server: String,
    /// How redis-cli reaches it.
    pub(super) cli: String,
    /// As the user told it.
    pub(super) told_threshold: Option<Duration>,
    pub(super) settings: BTreeMap<String, String>,
    /// The lines of `INFO`, of all sections that were asked for.
    pub(super) info: BTreeMap<String, String>,
    pub(super) slow_log: Option<Vec<SlowCall>>,
    pub(super) latency: Option<Vec<LatencyEvent>>,
    pub(super) clients: Option<Vec<Client>>,
    /// What a Sentinel watches; `None` if this is a server with data.
    pub(super) watched: Option<Vec<Master>>,
    pub(super) refused: Vec<Refusal>,
}

/// An entry of the slow log that is a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlowCall {
    /// The command and its SHA1 or function; its arguments only if they were asked for.
    pub(super) what: String,
    pub(super) took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LatencyEvent {
    pub(super) name: String,
    pub(super) latest: Duration,
    pub(super) most: Duration,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) library: String,
}

/// A master that a Sentinel watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) down_after: Duration,
    pub(super) quorum: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) question: String,
    pub(super) reason: String,
}

const SECTIONS: [&str; 7] =
    ["server", "clients", "stats", "replication", "errorstats", "commandstats", "cluster"];
const SETTINGS: [&str; 11] = [
    "busy-reply-threshold",
    "lua-time-limit",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "latency-monitor-threshold",
    "timeout",
    "tcp-keepalive",
    "io-threads",
    "cluster-node-timeout",
    "repl-timeout",
    "maxclients",
];
const SLOW_LOG_ENTRIES: &str = "1000";
/// So much of a script's text, or of its arguments, is shown.
const SHOWN_MAX: usize = 100;

impl Facts {
    pub(super) async fn read(
        link: &mut Link,
        settings: &ServerSettings,
        arguments: bool,
    ) -> Result<Self, Condition> {
        let mut facts = Self {
            server: settings.server.to_string(),
            cli: cli(&settings.server),
            told_threshold: settings.threshold,
            ..Self::default()
        };
        for section in SECTIONS {
            let Some(reply) = facts.ask(link, &["INFO", section]).await? else { break };
            facts.info.extend(info_lines(&reply.lines().unwrap_or_default()));
        }
        if facts.info.get("redis_mode").is_some_and(|mode| mode == "sentinel") {
            let masters = facts.ask(link, &["SENTINEL", "MASTERS"]).await?;
            facts.watched = Some(masters.iter().flat_map(Reply::items).filter_map(master).collect());
            return Ok(facts);
        }
        for name in SETTINGS {
            let Some(reply) = facts.ask(link, &["CONFIG", "GET", name]).await? else { break };
            facts
                .settings
                .extend(reply.get(name).and_then(Reply::text).map(|value| (name.to_owned(), value)));
        }
        let slow_log = facts.ask(link, &["SLOWLOG", "GET", SLOW_LOG_ENTRIES]).await?;
        facts.slow_log =
            slow_log.map(|log| log.items().iter().filter_map(|entry| slow_call(entry, arguments)).collect());
        let latency = facts.ask(link, &["LATENCY", "LATEST"]).await?;
        facts.latency = latency.map(|events| events.items().iter().filter_map(latency_event).collect());
        let clients = facts.ask(link, &["CLIENT", "LIST"]).await?;
        facts.clients = clients.and_then(|list| Some(list.lines()?.lines().map(client).collect()));
        Ok(facts)
    }

    /// One question; a refusal is noted, and the state if the server is not open any more an error.
    async fn ask(&mut self, link: &mut Link, words: &[&str]) -> Result<Option<Reply>, Condition> {
        let reply = link.ask(words).await?;
        let Reply::Error(reason) = &reply else { return Ok(Some(reply)) };
        match link.behind(reason).await? {
            Condition::Refused { .. } => {}
            not_open => return Err(not_open),
        }
        self.refused.push(Refusal { question: words.join(" "), reason: printable(reason) });
        Ok(None)
    }

    /// The threshold, and 5 s where it is not known.
    pub(super) fn threshold(&self) -> Duration {
        self.known_threshold().unwrap_or(DEFAULT_THRESHOLD)
    }

    pub(super) fn known_threshold(&self) -> Option<Duration> {
        let read = self.threshold_setting().map(Duration::from_millis);
        self.told_threshold.or(read)
    }

    fn threshold_setting(&self) -> Option<u64> {
        self.number(self.threshold_name())
    }

    /// What the threshold is called on this server.
    pub(super) fn threshold_name(&self) -> &'static str {
        if self.settings.contains_key("busy-reply-threshold") || !self.settings.contains_key("lua-time-limit")
        {
            "busy-reply-threshold"
        } else {
            "lua-time-limit"
        }
    }

    /// A setting that is a number.
    pub(super) fn number<T: std::str::FromStr>(&self, setting: &str) -> Option<T> {
        self.settings.get(setting)?.parse().ok()
    }

    /// A number in `INFO`.
    pub(super) fn count(&self, line: &str) -> Option<u64> {
        self.info.get(line)?.parse().ok()
    }

    /// A field of a line of `INFO` that has several: `errorstat_BUSY:count=3`.
    pub(super) fn field(&self, line: &str, name: &str) -> Option<u64> {
        field(self.info.get(line)?, name)
    }

    /// The command that changes a setting.
    pub(super) fn set(&self, setting: &str, value: impl std::fmt::Display) -> String {
        format!("{} CONFIG SET {setting} {value}", self.cli)
    }

    /// The server's name and version.
    pub(super) fn version(&self) -> Option<(&'static str, &str)> {
        let of = |line: &str| self.info.get(line).map(String::as_str);
        // Valkey calls itself Redis 7.2 as well, for those who look for that.
        of("valkey_version")
            .map(|version| ("Valkey", version))
            .or_else(|| Some(("Redis", of("redis_version")?)))
    }
}

fn cli(server: &ServerUrl) -> String {
    match &server.address {
        Address::Unix(path) => format!("redis-cli -s {}", path.display()),
        Address::Tcp { .. } => format!("redis-cli -u {server}"),
    }
}

pub(super) fn slow_call(entry: &Reply, arguments: bool) -> Option<SlowCall> {
    let took = Duration::from_micros(entry.items().get(2)?.number()?);
    let words: Vec<_> = entry.items().get(3)?.items().iter().filter_map(Reply::text).collect();
    let command = words.first()?.to_ascii_uppercase();
    let what = match command.trim_end_matches("_RO") {
        "EVAL" | "EVALSHA" | "FCALL" if arguments => words.join(" ").chars().take(SHOWN_MAX).collect(),
        "EVALSHA" | "FCALL" => format!("{command} {}", words.get(1)?),
        "EVAL" => format!("{command} (--show-arguments shows its text)"),
        _ => return None,
    };
    Some(SlowCall { what, took })
}

pub(super) fn latency_event(event: &Reply) -> Option<LatencyEvent> {
    let millis = |at: usize| event.items().get(at)?.number().map(Duration::from_millis);
    Some(LatencyEvent { name: event.items().first()?.text()?, latest: millis(2)?, most: millis(3)? })
}

pub(super) fn client(line: &str) -> Client {
    let value = |name: &str| {
        let value = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        printable(value.unwrap_or_default())
    };
    Client { name: value("name"), library: value("lib-name") }
}

pub(super) fn master(master: &Reply) -> Option<Master> {
    let text = |name: &str| master.get(name)?.text();
    Some(Master {
        name: text("name")?,
        address: format!("{}:{}", text("ip")?, text("port")?),
        down_after: Duration::from_millis(master.get("down-after-milliseconds")?.number()?),
        quorum: master.get("quorum")?.number()?,
    })
}
