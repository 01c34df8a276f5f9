//! Events as log lines: one when an episode begins and one when it ends, however many callers wait.

use unbusy_core::{EpisodeReport, Event};

pub(crate) fn log(server: &str, event: &Event) {
    match event {
        Event::StallBegan => tracing::debug!(server, "the server is silent"),
        Event::StallEnded { lasted } => tracing::debug!(server, ?lasted, "the server answers again"),
        Event::EpisodeBegan { cause } => {
            tracing::warn!(server, cause = cause.name(), "the server is busy; commands wait");
        }
        Event::EpisodeEnded(report) => {
            let EpisodeReport { cause, lasted, connections, commands, given_up, rejected, .. } = report;
            let cause = cause.name();
            tracing::info!(
                server,
                cause,
                ?lasted,
                connections,
                commands,
                given_up,
                rejected,
                "the server accepts commands again"
            );
        }
        Event::ThresholdLearned { threshold } => {
            tracing::info!(server, ?threshold, "BUSY came sooner than expected: the threshold is lower");
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
