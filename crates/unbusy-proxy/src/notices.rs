//! Engine events as log lines: one notice per episode, not one per client.

use std::time::Duration;

use unbusy_core::{Cause, EpisodeReport, Event, Time};

use crate::history::Culprit;
use crate::kill::Outcome;
use crate::running::Call;

/// An [`EpisodeReport`] with all its fields; `tracing` wants the level as a word.
macro_rules! tell {
    ($level:ident, $report:expr, $text:literal) => {{
        let EpisodeReport { cause, lasted, connections, commands, given_up, rejected, .. } = $report;
        let (cause, lasted_ms) = (cause.name(), millis(*lasted));
        tracing::$level!(cause, lasted_ms, connections, commands, given_up, rejected, $text);
    }};
}

pub(crate) fn log(event: &Event) {
    match event {
        // Told with what makes the server busy.
        Event::EpisodeBegan { .. } => {}
        Event::EpisodeEnded(report) => tell!(info, report, "the server accepts commands again"),
        Event::EpisodeLeft(report) => tell!(warn, report, "ending while the server is busy"),
        Event::StallBegan => tracing::debug!("the server is silent"),
        Event::StallEnded { lasted } => {
            tracing::debug!(lasted_ms = millis(*lasted), "the server speaks again");
        }
        Event::ThresholdLearned { threshold } => {
            let threshold_ms = millis(*threshold);
            tracing::info!(threshold_ms, "BUSY came sooner than the assumed threshold; assuming this one");
        }
        Event::Hole => tracing::warn!(
            "a command was executed behind one that was rejected; the rejected ones were given up, so that nothing is reordered"
        ),
        Event::TooLarge => {
            tracing::warn!("a rejected transaction was too large to be kept; its client got the error");
        }
        Event::Ambiguous => {
            tracing::warn!(
                "a script answered BUSY as it ended; it may have run, so its client got the answer"
            );
        }
        other => tracing::info!(?other, "event"),
    }
}

/// The first BUSY of an episode. `culprit`: what makes the server busy, if it came through the proxy.
pub(crate) fn episode_began(cause: Cause, culprit: Option<&Call>, now: Time) {
    let (name, what) = (cause.name(), words(cause));
    match culprit {
        Some(call) => {
            let Culprit { script, keys, arguments, client, name: client_name, user } = call.culprit();
            let running_ms = millis(call.script.age(now));
            tracing::warn!(
                cause = name,
                script,
                keys,
                arguments,
                client,
                client_name,
                user,
                running_ms,
                "the server is {what}; commands are held"
            );
        }
        None if matches!(cause, Cause::Script | Cause::Function) => tracing::warn!(
            cause = name,
            script = "not through this proxy",
            "the server is {what}; commands are held"
        ),
        None => tracing::warn!(cause = name, "the server is {what}; commands are held"),
    }
}

/// What the server tells of a function that did not come through the proxy.
pub(crate) fn strange_function(name: &str, since: Duration) {
    let (script, running_ms) = (format!("function {name:?}"), millis(since));
    tracing::warn!(script, running_ms, "the server says which function it runs");
}

/// A kill, and what came of it.
pub(crate) fn kill(call: &Call, outcome: Outcome, answer: &str, now: Time) {
    let (Culprit { script, client, .. }, ran_ms) = (call.culprit(), millis(call.script.age(now)));
    match outcome {
        Outcome::Killed => tracing::warn!(script, client, ran_ms, "killed a script that ran for too long"),
        Outcome::Uncertain => tracing::error!(
            script,
            client,
            ran_ms,
            "killed a script that ran for too long, unless it ended by itself just before, and another one was killed, which did \
             not come through this proxy"
        ),
        Outcome::Over => tracing::info!(
            script,
            client,
            ran_ms,
            "a script that ran for too long ended before it could be killed"
        ),
        Outcome::Written => tracing::warn!(
            script,
            client,
            ran_ms,
            "a script runs for too long, but cannot be killed: it has written already, and half of its writes would stay"
        ),
        Outcome::Refused => tracing::error!(
            script,
            client,
            ran_ms,
            answer,
            "a script runs for too long, but the server does not let it be killed (a login in --upstream helps, of a user who may \
             PING, SCRIPT KILL and FUNCTION KILL)"
        ),
        Outcome::Unanswered => tracing::error!(
            script,
            client,
            ran_ms,
            answer,
            "a script runs for too long, and the server does not answer to its being killed"
        ),
    }
}

/// A script has run for too long, and may go on.
pub(crate) fn spared(call: &Call, reason: &str, now: Time) {
    let (Culprit { script, client, .. }, running_ms) = (call.culprit(), millis(call.script.age(now)));
    tracing::info!(script, client, running_ms, reason, "a script runs for too long, but is not killed");
}

/// A duration as it is logged: a number, which programs can compare, with the unit in the field's name.
pub(crate) const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

const fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Script => "busy running a script",
        Cause::Function => "busy running a function",
        Cause::Module => "busy running a module command",
        Cause::Loading => "loading its data set",
    }
}
