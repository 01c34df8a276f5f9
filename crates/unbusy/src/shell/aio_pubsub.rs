//! Subscriptions on asynchronous connections that are for nothing else. How they wait is in `aio_extras`.

use super::redis;
use std::ops::{Deref, DerefMut};

use super::redis::aio::PubSubStream;
use super::redis::{FromRedisValue, RedisResult, ToRedisArgs, Value};

use super::patience::Patience;
use crate::door::Door;

/// A [`redis::aio::PubSub`] whose subscriptions wait while the server is busy. It comes from
/// [`Client::get_async_pubsub`](crate::Client::get_async_pubsub).
pub struct PubSub {
    inner: redis::aio::PubSub,
    door: Door,
}

/// The half of a [`PubSub`] that subscribes. It comes from [`PubSub::split`].
#[derive(Clone)]
pub struct PubSubSink {
    inner: redis::aio::PubSubSink,
    door: Door,
}

impl PubSub {
    pub(crate) const fn new(inner: redis::aio::PubSub, door: Door) -> Self {
        Self { inner, door }
    }

    /// Only the messages. See [`redis::aio::PubSub::into_on_message`].
    pub fn into_on_message(self) -> PubSubStream {
        self.inner.into_on_message()
    }

    /// What subscribes, and the messages. See [`redis::aio::PubSub::split`].
    pub fn split(self) -> (PubSubSink, PubSubStream) {
        let (inner, stream) = self.inner.split();
        (PubSubSink { inner, door: self.door }, stream)
    }
}

macro_rules! wraps {
    ($of:ty, $inner:ty) => {
        impl $of {
            pub(crate) fn patience(&self) -> Patience {
                Patience::new(self.door.clone())
            }

            /// Sends PING, which waits while the server is busy.
            ///
            /// # Errors
            /// As [`redis::aio::PubSub::ping`]; the server's BUSY when the budget is over.
            pub async fn ping<T: FromRedisValue>(&mut self) -> RedisResult<T> {
                let mut patience = self.patience();
                loop {
                    match self.inner.ping().await.and_then(Value::extract_error) {
                        Ok(reply) => return Ok(T::from_redis_value(patience.done(reply))?),
                        Err(error) => patience.wait(error).await?,
                    }
                }
            }

            /// Sends PING with a message, which waits while the server is busy.
            ///
            /// # Errors
            /// As [`redis::aio::PubSub::ping_message`]; the server's BUSY when the budget is over.
            pub async fn ping_message<T: FromRedisValue>(
                &mut self,
                message: impl ToRedisArgs,
            ) -> RedisResult<T> {
                let mut patience = self.patience();
                loop {
                    match self.inner.ping_message(&message).await.and_then(Value::extract_error) {
                        Ok(reply) => return Ok(T::from_redis_value(patience.done(reply))?),
                        Err(error) => patience.wait(error).await?,
                    }
                }
            }

            /// The wrapped one, for what only it can do. What is sent with it directly does not wait.
            pub const fn get_mut(&mut self) -> &mut $inner {
                &mut self.inner
            }
        }

        impl Deref for $of {
            type Target = $inner;

            fn deref(&self) -> &Self::Target {
                &self.inner
            }
        }

        impl DerefMut for $of {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.inner
            }
        }
    };
}

wraps!(PubSub, redis::aio::PubSub);
wraps!(PubSubSink, redis::aio::PubSubSink);
