//! What asynchronous connections of the `redis` crate can do besides commands: subscribing with RESP3, time-outs, caches.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

#[cfg(feature = "cache-aio")]
use super::redis::caching::CacheStatistics;
use super::redis::{RedisError, RedisResult, ToRedisArgs};

#[cfg(feature = "connection-manager")]
use super::Manager;
use super::aio::{Connection, in_time, poll_in_time};
use super::aio_pubsub::{PubSub, PubSubSink};
use crate::gate::now;

/// Subscriptions on the connection that `$ready` yields. What was rejected was not executed, so it is done again, after
/// `$note` has looked at the error.
macro_rules! subscriptions {
    ($of:ty, $ready:expr, $note:expr; $($name:ident $what:literal),*) => {
        impl $of {
            $(
                #[doc = concat!($what, ", also while the server is busy.")]
                ///
                /// # Errors
                #[doc = concat!("As [`redis::aio::PubSub::", stringify!($name), "`]; BUSY when the budget is over.")]
                pub async fn $name(&mut self, names: impl ToRedisArgs) -> RedisResult<()> {
                    let mut patience = self.patience();
                    loop {
                        match in_time!(patience.door, now(), $ready(self.get_mut())?.$name(&names)) {
                            Ok(()) => return Ok(patience.done(())),
                            Err(error) => {
                                $note(self.get_mut(), &error);
                                patience.wait(error).await?;
                            }
                        }
                    }
                }
            )*
        }
    };
    ($of:ty, $ready:expr, $note:expr) => {
        subscriptions!(
            $of, $ready, $note;
            subscribe "Subscribes to channels",
            psubscribe "Subscribes to patterns",
            unsubscribe "Unsubscribes from channels",
            punsubscribe "Unsubscribes from patterns"
        );
    };
}

// On connections, subscriptions need RESP3.
subscriptions!(Connection, RedisResult::Ok, |_, _: &RedisError| ());
subscriptions!(PubSub, RedisResult::Ok, |_, _: &RedisError| ());
subscriptions!(PubSubSink, RedisResult::Ok, |_, _: &RedisError| ());
#[cfg(feature = "connection-manager")]
subscriptions!(Connection<Manager>, Manager::sound, Manager::note);

impl Connection {
    /// How long a reply may take once its command is sent; nothing is sent again when it is over.
    pub fn set_response_timeout(&mut self, timeout: Duration) {
        self.give_up_after(None);
        self.get_mut().set_response_timeout(timeout);
    }

    /// See [`redis::aio::MultiplexedConnection::get_cache_statistics`].
    #[cfg(feature = "cache-aio")]
    pub fn get_cache_statistics(&self) -> Option<CacheStatistics> {
        self.link().get_cache_statistics()
    }
}

#[cfg(all(feature = "cache-aio", feature = "connection-manager"))]
impl Connection<Manager> {
    /// See [`redis::aio::ConnectionManager::get_cache_statistics`].
    pub fn get_cache_statistics(&self) -> Option<CacheStatistics> {
        self.link().get_cache_statistics()
    }
}
