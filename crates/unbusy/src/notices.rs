//! Events as log lines: one when an episode begins and one when it ends, however many callers wait. And for traces an event for
//! each call that waited.

use std::time::Duration;

use unbusy_core::{Cause, EpisodeReport, Event, Time};

use crate::running::Suspect;

/// What it has is for the span of whoever called, where it becomes a span event; as log lines these would be many.
const CALLS: &str = "unbusy::calls";

/// A call waited for so long for a server that was busy, and has its answer.
pub(crate) fn held(server: &str, waited: Duration) {
    tracing::debug!(target: CALLS, server, waited_ms = millis(waited), "held while the server was busy");
}

/// A call waited for so long in vain.
pub(crate) fn gave_up(server: &str, waited: Duration) {
    tracing::debug!(target: CALLS, server, waited_ms = millis(waited), "given up while the server was busy");
}

pub(crate) fn log(server: &str, event: &Event) {
    match event {
        Event::StallBegan => tracing::debug!(server, "the server is silent"),
        Event::StallEnded { lasted } => {
            tracing::debug!(server, lasted_ms = millis(*lasted), "the server speaks again");
        }
        // Told with what makes the server busy.
        Event::EpisodeBegan { .. } => {}
        Event::EpisodeEnded(report) => {
            let EpisodeReport { cause, lasted, connections, commands, given_up, rejected, .. } = report;
            let (cause, lasted_ms) = (cause.name(), millis(*lasted));
            tracing::info!(
                server,
                cause,
                lasted_ms,
                connections,
                commands,
                given_up,
                rejected,
                "the server accepts commands again"
            );
        }
        Event::ThresholdLearned { threshold } => {
            tracing::info!(
                server,
                threshold_ms = millis(*threshold),
                "BUSY came sooner than expected: the threshold is lower"
            );
        }
        Event::Hole => tracing::warn!(
            server,
            "a command was executed behind a rejected one, so the rejected ones were not sent again"
        ),
        Event::Ambiguous => tracing::warn!(
            server,
            "a script answered BUSY as it ended: it may have run, so it was not sent again"
        ),
        other => tracing::info!(server, event = ?other),
    }
}

/// The first BUSY of an episode, and what makes the server busy, if this process sent it.
pub(crate) fn episode_began(server: &str, cause: Cause, suspect: Option<&Suspect>, now: Time) {
    let name = cause.name();
    match suspect {
        Some(Suspect { script: sent, is_left, .. }) => {
            let doubt = if *is_left { ", unless it is over, since nobody waits for it any more" } else { "" };
            let (script, running_ms) = (format!("{sent}{doubt}"), millis(sent.age(now)));
            tracing::warn!(server, cause = name, script, running_ms, "the server is busy; commands wait");
        }
        None if matches!(cause, Cause::Script | Cause::Function) => {
            let script = "not through this process";
            tracing::warn!(server, cause = name, script, "the server is busy; commands wait");
        }
        None => tracing::warn!(server, cause = name, "the server is busy; commands wait"),
    }
}

const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
