//! `/api/events`: the state whenever it has changed, and every episode when it is over, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::pages::Desk;
use super::state::{self, State};

/// How often the state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Whoever listens can tell by this that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// For one listener, who keeps the place as long as he listens.
pub(super) fn response(
    desk: Arc<Desk>,
    place: OwnedSemaphorePermit,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let told = desk.state().episodes_ended();
    let follower = Follower { desk, ticks, last: None, told, _place: place };
    let events = stream::unfold(follower, async |mut follower| Some((Ok(follower.next().await), follower)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// What one listener knows.
struct Follower {
    desk: Arc<Desk>,
    ticks: Interval,
    last: Option<State>,
    /// The number of the last episode that he was told of, or that was over when he came.
    told: u64,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Event {
        loop {
            self.ticks.tick().await;
            if self.desk.state().episodes_ended() > self.told {
                let episodes = state::episodes_after(self.desk.subject(), self.told);
                self.told += episodes.len() as u64;
                return event("episodes", &episodes);
            }
            let state = self.desk.state();
            if !self.last.as_ref().is_some_and(|last| state.is_like(last)) {
                let event = event("state", &state);
                self.last = Some(state);
                return event;
            }
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // Only maps with odd keys cannot be written as JSON.
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
