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

    /// Waits until the server is known to be open, and for a while yet.
    fn wait_for_lease(&mut self) -> RedisResult<()> {
        while self.door.policy.holds_any() && !self.door.is_free(now()) {
            let Self { inner, door } = self;
            let mut call = Call::new(door, Command::read(b"PING\r\n"));
            let mut sent_last = Time::ZERO;
            let reply: RedisResult<Value> = drive_call!(
                call,
                first: None,
                next: block_on(call.next()),
                send: {
                    sent_last = now();
                    inner.ping_message("")
                },
                ping: inner.ping_message("")
            );
            reply?.extract_error()?;
            if now() < sent_last + door.gate.lease_width() {
                break;
            }
        }
        Ok(())
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
