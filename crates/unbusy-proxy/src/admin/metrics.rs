//! `/metrics`: every metric, its name and what it means. `docs/monitoring.md` lists them for users.

use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use super::exposition::{Family, Page};
use super::state::unix_time;
use crate::histogram::{BOUNDS, Histogram};
use crate::history::{CAUSES, WAIT_REASONS};
use crate::kill::OUTCOMES;
use crate::ledger::Costs;
use crate::shared::{Look, Shared, Traffic};
use crate::sync;

pub(super) fn page(shared: &Shared, started: SystemTime) -> String {
    let (look, traffic) = (shared.look(sync::now()), shared.traffic());
    let mut page = Page::default();
    server(&mut page, &look);
    held(&mut page, &look);
    mishaps(&mut page, &look);
    connections(&mut page, shared, &traffic);
    self::traffic(&mut page, &traffic);
    scripts(&mut page, shared.ledger.costs());
    let version = env!("CARGO_PKG_VERSION");
    page.gauge("unbusy_build_info", "The version that runs; always 1.").with("version", version, 1);
    let help = "When the proxy was started, in seconds since 1970.";
    page.gauge("process_start_time_seconds", help).is(unix_time(started).as_secs_f64());
    page.into_text()
}

fn server(page: &mut Page, look: &Look) {
    let counts = &look.counts;
    page.gauge(
        "unbusy_busy",
        "Whether the server is busy: 1 from its first BUSY until it accepts a command.",
    )
    .is(u8::from(look.busy.is_some()));
    page.gauge("unbusy_stalled", "Whether the server is silent, but has not said BUSY.")
        .is(u8::from(look.stalled.is_some()));
    let mut episodes = page.counter(
        "unbusy_episodes_total",
        "Times that the server began to answer BUSY, by what it was busy with.",
    );
    for cause in CAUSES {
        episodes.with("cause", cause.name(), counts.episodes[cause as usize]);
    }
    page.counter("unbusy_busy_seconds_total", "Time in which the server was busy.")
        .is(counts.busy.as_secs_f64());
    page.counter("unbusy_stalls_total", "Times that the server fell silent.").is(counts.stalls);
    page.counter("unbusy_stalled_seconds_total", "Time in which the server was silent.")
        .is(counts.stalled.as_secs_f64());
    page.gauge(
        "unbusy_threshold_seconds",
        "How long a script runs before the server answers BUSY; 0: it never does.",
    )
    .is(look.threshold.unwrap_or_default().as_secs_f64());
}

fn held(page: &mut Page, look: &Look) {
    page.gauge("unbusy_held_connections", "Connections that wait for the server now.").is(look.held.0);
    page.gauge("unbusy_held_commands", "Commands that wait on them.").is(look.held.1);
    page.gauge("unbusy_longest_wait_seconds", "How long the one has waited that waits for the longest now.")
        .is(look.longest_wait.as_secs_f64());
    let mut waits = page.histogram(
        "unbusy_wait_seconds",
        "How long connections waited until they might send, gave up or left, by what they waited for: the time that unbusy added.",
    );
    for (reason, name) in WAIT_REASONS {
        distribution(&mut waits, ("for", name), &look.counts.waits[reason as usize]);
    }
}

fn distribution(family: &mut Family<'_>, label: (&str, &str), histogram: &Histogram) {
    let mut below = 0;
    let buckets = BOUNDS.iter().zip(histogram.counts).map(|(bound, count)| {
        below += count;
        (bound.as_secs_f64(), below)
    });
    family.distribution(label, buckets, histogram.count(), histogram.sum.as_secs_f64());
}

/// The dearest scripts by name, and all others as one, so that there are never many series.
fn scripts(page: &mut Page, costs: Costs) {
    const NAMED: usize = 20;
    const OTHERS: &str = "other";
    let Costs { scripts, mut others } = costs;
    let mut scripts: Vec<_> = scripts.into_iter().map(|(name, account)| (name, account.cost)).collect();
    scripts.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.blocked.sum));
    let mut family = page.histogram(
        "unbusy_script_blocked_seconds",
        "How long scripts through this proxy kept the server from everybody else, each time, way there and back included.",
    );
    for (name, cost) in scripts.iter().take(NAMED) {
        distribution(&mut family, ("script", &name.to_string()), &cost.blocked);
    }
    for (_, cost) in scripts.iter().skip(NAMED) {
        others.blocked.merge(&cost.blocked);
    }
    distribution(&mut family, ("script", OTHERS), &others.blocked);
}

fn mishaps(page: &mut Page, look: &Look) {
    let counts = &look.counts;
    page.counter("unbusy_rejected_total", "Commands that the server rejected, tries of held ones included.")
        .is(counts.rejected);
    page.counter(
        "unbusy_tries_total",
        "Times that a held command, or a PING in its place, asked a busy server whether it is open.",
    )
    .is(counts.tries);
    page.counter(
        "unbusy_given_up_total",
        "Commands whose clients got the error after all, since their time was over.",
    )
    .is(counts.given_up);
    page.counter(
        "unbusy_holes_total",
        "Times that a command was executed behind a rejected one, which was given up.",
    )
    .is(counts.holes);
    page.counter("unbusy_ambiguous_total", "Scripts whose clients got the error, since they may have run.")
        .is(counts.ambiguous);
    let mut kills =
        page.counter("unbusy_kills_total", "Scripts that the proxy was to kill, by what came of it.");
    for (outcome, name) in OUTCOMES {
        kills.with("outcome", name, counts.kills[outcome as usize]);
    }
    page.counter("unbusy_too_large_total", "Rejected transactions that were too large to be kept.")
        .is(counts.too_large);
}

fn connections(page: &mut Page, shared: &Shared, traffic: &Traffic) {
    let arrivals = &shared.arrivals;
    page.gauge("unbusy_client_connections", "Clients now.").is(shared.connections.load(Relaxed));
    page.gauge("unbusy_server_connections", "Those of them that have a connection to the server.")
        .is(traffic.served);
    page.counter("unbusy_accepted_connections_total", "Clients that were taken.")
        .is(arrivals.accepted.load(Relaxed));
    page.counter(
        "unbusy_refused_connections_total",
        "Clients that were turned away, since there were too many.",
    )
    .is(arrivals.turned_away.load(Relaxed));
    page.counter(
        "unbusy_unreached_connections_total",
        "Clients that were refused, since the server could not be reached.",
    )
    .is(arrivals.unreached.load(Relaxed));
}

fn traffic(page: &mut Page, traffic: &Traffic) {
    let mut received =
        page.counter("unbusy_received_bytes_total", "Bytes that came, by the side from which.");
    received.with("from", "clients", traffic.from_clients);
    received.with("from", "server", traffic.from_server);
    let mut sent = page.counter("unbusy_sent_bytes_total", "Bytes that went, by the side to which.");
    sent.with("to", "clients", traffic.to_clients);
    sent.with("to", "server", traffic.to_server);
    page.counter(
        "unbusy_scripts_total",
        "Scripts and functions sent to the server, tries of held ones included.",
    )
    .is(traffic.scripts);
}
