//! `/api/state`: all there is to show, as JSON. `docs/monitoring.md` says what each field means.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use unbusy_core::EpisodeReport;

use super::Subject;
use crate::history::{Culprit, Episode};
use crate::notices::millis;
use crate::shared::{Look, Stage, Traffic};
use crate::sync;
use crate::tally::Arrivals;

/// A proxy at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct State {
    version: &'static str,
    started_ms: u64,
    now_ms: u64,
    upstream: String,
    listen: Vec<String>,
    /// `open` (not known to be otherwise), `stalled` or `busy`.
    #[serde(rename = "state")]
    condition: &'static str,
    draining: bool,
    busy: Option<Busy>,
    stalled_ms: Option<u64>,
    held_connections: usize,
    held_commands: u64,
    longest_wait_ms: u64,
    /// Zero: the server never answers BUSY.
    threshold_ms: u64,
    client_connections: u32,
    server_connections: u64,
    counters: Counters,
    #[serde(skip_serializing_if = "Option::is_none")]
    episodes: Option<Vec<Past>>,
}

/// An episode, of which the numbers are those so far if it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Busy {
    began_ms: u64,
    lasted_ms: u64,
    cause: &'static str,
    /// The SHA-1 of its text, or the function; null if it did not come through this proxy.
    script: Option<String>,
    keys: Option<u64>,
    arguments: Option<String>,
    client: Option<String>,
    client_name: Option<String>,
    user: Option<String>,
    connections: usize,
    commands: u64,
    given_up: u64,
    rejected: u64,
}

/// An episode that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Past {
    number: u64,
    #[serde(flatten)]
    episode: Busy,
}

/// What only grows, from the start of the proxy on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Counters {
    episodes: u64,
    /// Those that are over; also the number of the last one.
    episodes_ended: u64,
    busy_ms: u64,
    stalls: u64,
    stalled_ms: u64,
    rejected: u64,
    given_up: u64,
    holes: u64,
    ambiguous: u64,
    too_large: u64,
    accepted_connections: u64,
    refused_connections: u64,
    unreached_connections: u64,
    bytes_from_clients: u64,
    bytes_to_clients: u64,
    bytes_from_server: u64,
    bytes_to_server: u64,
    scripts: u64,
}

impl State {
    /// As it is now, without the episodes that are over.
    pub(super) fn of(subject: &Subject, started: SystemTime) -> Self {
        let shared = &subject.shared;
        let (look, traffic) = (shared.look(sync::now()), shared.traffic());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_ms: unix_ms(started),
            now_ms: unix_ms(SystemTime::now()),
            upstream: subject.connector.address().to_string(),
            listen: subject.listeners.iter().map(ToString::to_string).collect(),
            condition: match (&look.busy, look.stalled) {
                (Some(_), _) => "busy",
                (None, Some(_)) => "stalled",
                (None, None) => "open",
            },
            draining: shared.stage() != Stage::Running,
            busy: look.busy.map(|(report, began)| Busy::new(report, began, look.culprit.as_ref())),
            stalled_ms: look.stalled.map(millis),
            held_connections: look.held.0,
            held_commands: look.held.1,
            longest_wait_ms: millis(look.longest_wait),
            threshold_ms: millis(look.threshold.unwrap_or_default()),
            client_connections: shared.connections.load(Relaxed),
            server_connections: traffic.served,
            counters: Counters::of(&look, &traffic, &shared.arrivals),
            episodes: None,
        }
    }

    /// With the episodes that are remembered, the oldest first.
    pub(super) fn with_episodes(self, subject: &Subject) -> Self {
        Self { episodes: Some(episodes_after(subject, 0)), ..self }
    }

    /// Whether it is the same but for the clock.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        Self { now_ms: other.now_ms, ..self.clone() } == *other
    }

    /// The number of the last episode that is over.
    pub(super) const fn episodes_ended(&self) -> u64 {
        self.counters.episodes_ended
    }
}

impl Busy {
    fn new(report: EpisodeReport, began: SystemTime, culprit: Option<&Culprit>) -> Self {
        Self {
            began_ms: unix_ms(began),
            lasted_ms: millis(report.lasted),
            cause: report.cause.name(),
            script: culprit.map(|culprit| culprit.script.clone()),
            keys: culprit.and_then(|culprit| culprit.keys),
            arguments: culprit.and_then(|culprit| culprit.arguments.clone()),
            client: culprit.map(|culprit| culprit.client.clone()),
            client_name: culprit.and_then(|culprit| culprit.name.clone()),
            user: culprit.and_then(|culprit| culprit.user.clone()),
            connections: report.connections,
            commands: report.commands,
            given_up: report.given_up,
            rejected: report.rejected,
        }
    }
}

impl Counters {
    fn of(look: &Look, traffic: &Traffic, arrivals: &Arrivals) -> Self {
        let counts = &look.counts;
        Self {
            episodes: counts.episodes.iter().sum(),
            episodes_ended: look.ended,
            busy_ms: millis(counts.busy),
            stalls: counts.stalls,
            stalled_ms: millis(counts.stalled),
            rejected: counts.rejected,
            given_up: counts.given_up,
            holes: counts.holes,
            ambiguous: counts.ambiguous,
            too_large: counts.too_large,
            accepted_connections: arrivals.accepted.load(Relaxed),
            refused_connections: arrivals.turned_away.load(Relaxed),
            unreached_connections: arrivals.unreached.load(Relaxed),
            bytes_from_clients: traffic.from_clients,
            bytes_to_clients: traffic.to_clients,
            bytes_from_server: traffic.from_server,
            bytes_to_server: traffic.to_server,
            scripts: traffic.scripts,
        }
    }
}

/// The episodes that are over and behind this number, the oldest first.
pub(super) fn episodes_after(subject: &Subject, number: u64) -> Vec<Past> {
    let past = subject.shared.episodes_after(number);
    let past = past.iter().map(|Episode { number, began, culprit, report }| Past {
        number: *number,
        episode: Busy::new(*report, *began, culprit.as_ref()),
    });
    past.collect()
}

pub(super) fn unix_time(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn unix_ms(time: SystemTime) -> u64 {
    millis(unix_time(time))
}
