//! Engine events as log lines: one notice per episode, not one per client.

use unbusy_core::{Cause, EpisodeReport, Event};

pub(crate) fn log(event: &Event) {
    match event {
        Event::EpisodeBegan { cause } => {
            tracing::warn!(cause = cause.name(), "the server is {}; commands are held", words(*cause));
        }
        Event::EpisodeEnded(report) => {
            let EpisodeReport { cause, lasted, connections, commands, given_up, rejected, .. } = report;
            let cause = cause.name();
            tracing::info!(
                cause,
                ?lasted,
                connections,
                commands,
                given_up,
                rejected,
                "the server accepts commands again"
            );
        }
        Event::EpisodeLeft(report) => {
            let EpisodeReport { cause, lasted, connections, commands, given_up, rejected, .. } = report;
            let cause = cause.name();
            tracing::warn!(
                cause,
                ?lasted,
                connections,
                commands,
                given_up,
                rejected,
                "ending while the server is busy"
            );
        }
        Event::StallBegan => tracing::debug!("the server is silent"),
        Event::StallEnded { lasted } => tracing::debug!(?lasted, "the server speaks again"),
        Event::ThresholdLearned { threshold } => {
            tracing::info!(?threshold, "BUSY came sooner than the assumed threshold; assuming this one");
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

const fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Script => "busy running a script",
        Cause::Function => "busy running a function",
        Cause::Module => "busy running a module command",
        Cause::Loading => "loading its data set",
    }
}
