//! Subscriptions on a blocking connection.
//!
//! A [`redis::PubSub`] does not look at the reply to SUBSCRIBE: rejected as BUSY, it counts as done. So it is sent only
//! under a lease, when it cannot be rejected.

use super::redis;
use std::ops::{Deref, DerefMut};

use super::redis::{RedisResult, ToRedisArgs, Value};
use unbusy_core::Time;
use unbusy_core::command::Command;

use super::Connection;
use super::blocking::block_on;
use super::call::{Call, Step, Verdict, drive_call};
use super::lease::wait_for_lease;
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
}

impl PubSub<'_> {
    /// Subscribes to channels.
    ///
    /// # Errors
    /// As [`redis::PubSub::subscribe`]; the server's BUSY when the budget is over.
    pub fn subscribe(&mut self, channel: impl ToRedisArgs) -> RedisResult<()> {
        self.wait_for_lease()?;
        self.inner.subscribe(channel)
    }

    /// Subscribes to patterns.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn psubscribe(&mut self, pattern: impl ToRedisArgs) -> RedisResult<()> {
        self.wait_for_lease()?;
        self.inner.psubscribe(pattern)
    }

    /// Unsubscribes from channels.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn unsubscribe(&mut self, channel: impl ToRedisArgs) -> RedisResult<()> {
        self.wait_for_lease()?;
        self.inner.unsubscribe(channel)
    }

    /// Unsubscribes from patterns.
    ///
    /// # Errors
    /// As [`PubSub::subscribe`].
    pub fn punsubscribe(&mut self, pattern: impl ToRedisArgs) -> RedisResult<()> {
        self.wait_for_lease()?;
        self.inner.punsubscribe(pattern)
    }

    fn wait_for_lease(&mut self) -> RedisResult<()> {
        let Self { inner, door } = self;
        wait_for_lease!(door, |call| next: block_on(call.next()), ping: inner.ping_message(""))
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
