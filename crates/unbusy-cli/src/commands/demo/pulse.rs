//! Whether the machine let the demo run: without that, no wait that it measures means much.

use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(5);

/// Feels its pulse until it is asked for the longest pause.
pub(super) struct Pulse {
    end: tokio::sync::oneshot::Sender<()>,
    beating: tokio::task::JoinHandle<Duration>,
}

impl Pulse {
    pub(super) fn start() -> Self {
        let (end, ended) = tokio::sync::oneshot::channel();
        Self { end, beating: tokio::spawn(beat(ended)) }
    }

    /// By how much the latest beat was late.
    pub(super) async fn longest_pause(self) -> anyhow::Result<Duration> {
        drop(self.end);
        Ok(self.beating.await?)
    }
}

async fn beat(mut ended: tokio::sync::oneshot::Receiver<()>) -> Duration {
    let mut longest = Duration::ZERO;
    loop {
        let began = Instant::now();
        if tokio::time::timeout(BEAT, &mut ended).await.is_ok() {
            return longest;
        }
        longest = longest.max(began.elapsed().saturating_sub(BEAT));
    }
}
