//! Something that a busy server rejects as a whole, done again until it is accepted.

use super::redis::{RedisError, RedisResult};
use unbusy_core::Time;
use unbusy_core::command::{Command, Kind};

use super::reply;
use crate::door::Door;
use crate::gate::now;
use crate::visit::{Admission, Visit};

/// Waits between the tries of something that a busy server rejects and that no wrapped connection sees, such as subscribing
/// with a [`redis::aio::PubSub`]. It comes from [`Client::patience`](crate::Client::patience); for blocking code there is
/// [`Client::hold`](crate::Client::hold).
///
/// It waits only after an error that says that nothing was executed. That must be true, so this is not for scripts, which
/// can answer with any error, and not for pipelines.
///
/// ```no_run
/// # async fn example() -> redis::RedisResult<()> {
/// let client = unbusy::Client::open("redis://127.0.0.1/")?;
/// let mut pubsub = client.inner().get_async_pubsub().await?;
/// let mut patience = client.patience();
/// while let Err(error) = pubsub.subscribe("news").await {
///     patience.wait(error).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Patience {
    pub(super) door: Door,
    visit: Visit,
    tried: Time,
}

impl Patience {
    pub(crate) fn new(door: Door) -> Self {
        let mut visit = Visit::new(&door.gate, door.policy.max_wait);
        // It asks for all who wait only if nobody else can: it may connect anew each time.
        visit.ask_for(Command::read(b"SELECT 0\r\n"), 1);
        Self { door, visit, tried: now() }
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// The error itself, if it is not that the server is busy, or the budget is over.
    pub async fn wait(&mut self, error: RedisError) -> RedisResult<()> {
        let cause =
            reply::rejection(&Err(error.clone()), Kind::Plain).filter(|cause| self.door.holds(*cause));
        let Some(cause) = cause else { return Err(error) };
        self.visit.rejected(cause, self.tried, 1);
        let admission = self.visit.admit().await;
        self.tried = now();
        if admission == Admission::Over { Err(error) } else { Ok(()) }
    }

    /// A busy server lets much be done that was never rejected, so only what was rejected before proves something.
    pub(crate) fn done<T>(mut self, value: T) -> T {
        if self.visit.is_rejected() {
            self.visit.accepted(self.tried, true, true);
        }
        value
    }
}
