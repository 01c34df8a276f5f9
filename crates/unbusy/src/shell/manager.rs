//! A connection that reconnects by itself, also while the server is busy.
//!
//! A [`ConnectionManager`] whose reconnecting was rejected keeps that error for ever: only failures of input and output
//! make it try again. So one that has met BUSY is replaced by a new one.

use super::redis;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use super::redis::{Cmd, Pipeline, RedisError, RedisResult, Value};

use super::aio::Link;
use super::reply;

/// A [`ConnectionManager`] that is not broken by a reconnecting that the server rejects as BUSY.
#[derive(Clone)]
pub struct Manager {
    inner: ConnectionManager,
    age: u64,
    broken: bool,
    newest: Arc<Newest>,
}

/// What all clones go back to.
struct Newest {
    client: redis::Client,
    config: ConnectionManagerConfig,
    /// The manager in use, and how many were in use before it.
    manager: Mutex<(u64, ConnectionManager)>,
}

impl Manager {
    pub(crate) fn new(client: redis::Client, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let inner = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        let manager = Mutex::new((0, inner.clone()));
        Ok(Self { inner, age: 0, broken: false, newest: Arc::new(Newest { client, config, manager }) })
    }

    /// The manager in use.
    pub const fn get_mut(&mut self) -> &mut ConnectionManager {
        &mut self.inner
    }

    #[cfg(feature = "cache-aio")]
    pub(crate) fn get_cache_statistics(&self) -> Option<redis::caching::CacheStatistics> {
        self.inner.get_cache_statistics()
    }

    /// The manager in use, after a new one has taken the place of a broken one.
    pub(crate) fn sound(&mut self) -> RedisResult<&mut ConnectionManager> {
        if self.broken {
            self.mend()?;
        }
        Ok(&mut self.inner)
    }

    /// Whether a manager that answered this is broken.
    pub(crate) fn note(&mut self, error: &RedisError) {
        self.broken = reply::setup_rejection(error).is_some();
    }

    fn mend(&mut self) -> RedisResult<()> {
        let mut newest = self.newest.manager.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.0 == self.age {
            let Newest { client, config, .. } = &*self.newest;
            *newest =
                (self.age + 1, ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?);
        }
        (self.age, self.inner) = newest.clone();
        self.broken = false;
        Ok(())
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Link for Manager {
    async fn command(&mut self, command: &Cmd) -> RedisResult<Value> {
        let reply = self.sound()?.send_packed_command(command).await;
        if let Err(error) = &reply {
            self.note(error);
        }
        reply
    }

    async fn commands(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let replies = self.sound()?.send_packed_commands(pipeline, offset, count).await;
        if let Err(error) = &replies {
            self.note(error);
        }
        replies
    }

    fn db(&self) -> i64 {
        self.inner.get_db()
    }

    #[cfg(feature = "cache-aio")]
    fn caches(&self) -> bool {
        self.get_cache_statistics().is_some()
    }
}
