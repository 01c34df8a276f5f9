//! Subscriptions on a blocking connection.
//!
//! A [`redis::PubSub`] does not look at the reply to SUBSCRIBE: rejected as BUSY, it counts as done. So it is sent only
//! under a lease, when it cannot be rejected.

use super::redis;
use std::ops::{Deref, DerefMut};

use super::redis::{ControlFlow, FromRedisValue, Msg, PubSubCommands, RedisResult, ToRedisArgs, Value};
use unbusy_core::Time;
use unbusy_core::command::Command;

use super::Connection;
use super::blocking::block_on;
use super::call::{Call, Step, Verdict, drive_call};
use super::lease::wait_for_lease;
use super::patience::Patience;
use crate::door::Door;
use crate::gate::now;

/// A [`redis::PubSub`] whose subscriptions wait while the server is busy. It comes from [`Connection::as_pubsub`].
pub struct PubSub<'a> {
    inner: redis::PubSub<'a>,
    door: &'a Door,
}

impl Connection {
    /// Makes subscriptions on this connection. See [`redis::Connection::as_pubsub`].
    ///
    /// ```no_run
    /// # fn main() -> redis::RedisResult<()> {
    /// let client = unbusy::Client::open("redis://127.0.0.1/")?;
    /// let mut connection = client.get_connection()?;
    /// let mut pubsub = connection.as_pubsub();
    /// pubsub.subscribe("news")?;
    /// let message = pubsub.get_message()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_pubsub(&mut self) -> PubSub<'_> {
        let (inner, door) = self.parts();
        PubSub { inner: inner.as_pubsub(), door }
    }

    /// Subscribes to channels on this connection itself. See [`redis::Connection::subscribe_resp3`].
    ///
    /// # Errors
    /// As [`redis::Connection::subscribe_resp3`]; the server's BUSY when the budget is over.
    pub fn subscribe_resp3(&mut self, channel: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|connection| connection.subscribe_resp3(&channel))
    }

    /// Subscribes to patterns on this connection itself. See [`redis::Connection::psubscribe_resp3`].
    ///
    /// # Errors
    /// As [`Connection::subscribe_resp3`].
    pub fn psubscribe_resp3(&mut self, pattern: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|connection| connection.psubscribe_resp3(&pattern))
    }

    /// Unsubscribes from channels. See [`redis::Connection::unsubscribe_resp3`].
    ///
    /// # Errors
    /// As [`Connection::subscribe_resp3`].
    pub fn unsubscribe_resp3(&mut self, channel: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|connection| connection.unsubscribe_resp3(&channel))
    }

    /// Unsubscribes from patterns. See [`redis::Connection::punsubscribe_resp3`].
    ///
    /// # Errors
    /// As [`Connection::subscribe_resp3`].
    pub fn punsubscribe_resp3(&mut self, pattern: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|connection| connection.punsubscribe_resp3(&pattern))
    }

    /// Does something that must not be rejected, and again if that took longer than the lease ran.
    fn under_lease(
        &mut self,
        mut act: impl FnMut(&mut redis::Connection) -> RedisResult<()>,
    ) -> RedisResult<()> {
        loop {
            let lease_end = self.wait_for_lease()?;
            act(self.get_mut())?;
            if now() < lease_end {
                return Ok(());
            }
        }
    }
}

impl PubSubCommands for Connection {
    fn subscribe<C, F, U>(&mut self, channels: C, handle: F) -> RedisResult<U>
    where
        F: FnMut(Msg) -> ControlFlow<U>,
        C: ToRedisArgs,
    {
        let mut pubsub = self.as_pubsub();
        pubsub.subscribe(channels)?;
        pubsub.handle_all(handle)
    }

    fn psubscribe<P, F, U>(&mut self, patterns: P, handle: F) -> RedisResult<U>
    where
        F: FnMut(Msg) -> ControlFlow<U>,
        P: ToRedisArgs,
    {
        let mut pubsub = self.as_pubsub();
        pubsub.psubscribe(patterns)?;
        pubsub.handle_all(handle)
    }
}

impl PubSub<'_> {
    /// Subscribes to channels.
    ///
    /// # Errors
    /// As [`redis::PubSub::subscribe`]; the server's BUSY when the budget is over.
    pub fn subscribe(&mut self, channel: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|pubsub| pubsub.subscribe(&channel))
    }

    /// Subscribes to patterns.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn psubscribe(&mut self, pattern: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|pubsub| pubsub.psubscribe(&pattern))
    }

    /// Unsubscribes from channels.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn unsubscribe(&mut self, channel: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|pubsub| pubsub.unsubscribe(&channel))
    }

    /// Unsubscribes from patterns.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn punsubscribe(&mut self, pattern: impl ToRedisArgs) -> RedisResult<()> {
        self.under_lease(|pubsub| pubsub.punsubscribe(&pattern))
    }

    /// Sends PING, which waits while the server is busy.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn ping<T: FromRedisValue>(&mut self) -> RedisResult<T> {
        #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is for one lifetime only")]
        self.hold(|pubsub| pubsub.ping())
    }

    /// Sends PING with a message, which waits while the server is busy.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn ping_message<T: FromRedisValue>(&mut self, message: impl ToRedisArgs) -> RedisResult<T> {
        self.hold(|pubsub| pubsub.ping_message(&message))
    }

    fn hold<T: FromRedisValue>(
        &mut self,
        mut ping: impl FnMut(&mut redis::PubSub) -> RedisResult<Value>,
    ) -> RedisResult<T> {
        let mut patience = Patience::new(self.door.clone());
        loop {
            match ping(&mut self.inner).and_then(Value::extract_error) {
                Ok(reply) => return Ok(T::from_redis_value(patience.done(reply))?),
                Err(error) => block_on(patience.wait(error))?,
            }
        }
    }

    /// Does something that must not be rejected, and again if its reply came too late to tell: twice does no harm.
    fn under_lease(&mut self, mut act: impl FnMut(&mut redis::PubSub) -> RedisResult<()>) -> RedisResult<()> {
        loop {
            let lease_end = self.wait_for_lease()?;
            act(&mut self.inner)?;
            if now() < lease_end {
                return Ok(());
            }
        }
    }

    fn wait_for_lease(&mut self) -> RedisResult<Time> {
        let Self { inner, door } = self;
        wait_for_lease!(door, |call| next: block_on(call.next()), ping: inner.ping_message(""))
    }

    fn handle_all<U>(&mut self, mut handle: impl FnMut(Msg) -> ControlFlow<U>) -> RedisResult<U> {
        loop {
            if let ControlFlow::Break(value) = handle(self.inner.get_message()?) {
                return Ok(value);
            }
        }
    }
}

impl Drop for PubSub<'_> {
    /// The end of all subscriptions waits as well. Who cannot wait drops the connection.
    fn drop(&mut self) {
        // Without a connection there is nothing to end.
        let _ = self.wait_for_lease();
    }
}

impl<'a> Deref for PubSub<'a> {
    type Target = redis::PubSub<'a>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for PubSub<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}
