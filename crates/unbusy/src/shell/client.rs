//! The client: where connections that wait come from.

use super::redis;
use std::fmt;
use std::time::Duration;

use super::redis::{ConnectionAddr, ConnectionInfo, ConnectionLike, IntoConnectionInfo, RedisResult};

use super::blocking::{Connection, block_on};
use super::patience::Patience;
use super::survey;
use crate::Policy;
use crate::door::Door;

/// A [`redis::Client`] whose connections wait while the server is busy.
///
/// ```no_run
/// use redis::Commands;
///
/// # fn main() -> redis::RedisResult<()> {
/// // let client = redis::Client::open("redis://127.0.0.1/")?;
/// let client = unbusy::Client::open("redis://127.0.0.1/")?;
/// let mut connection = client.get_connection()?;
/// let visits: u64 = connection.incr("visits", 1)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: redis::Client,
    door: Door,
    /// How long an asynchronous connection waits for the answer to what it has sent, unless it is set up otherwise.
    #[cfg(feature = "aio")]
    response_timeout: Option<Duration>,
}

impl Client {
    /// A client for this server, with the default policy.
    ///
    /// # Errors
    /// As [`redis::Client::open`]: when the address cannot be read. Nothing is connected yet.
    pub fn open(params: impl IntoConnectionInfo) -> RedisResult<Self> {
        redis::Client::open(params).map(Self::from)
    }

    /// The same client with this policy.
    #[must_use]
    pub fn with_policy(self, policy: &Policy) -> Self {
        Self::new(self.inner, policy)
    }

    fn new(inner: redis::Client, policy: &Policy) -> Self {
        let info = inner.get_connection_info();
        Self {
            door: Door::new(&address(info), matches!(info.addr(), ConnectionAddr::TcpTls { .. }), policy),
            #[cfg(feature = "aio")]
            response_timeout: policy.response_timeout(),
            inner,
        }
    }

    /// Connects, also while the server is busy.
    ///
    /// # Errors
    /// As [`redis::Client::get_connection`]. A set-up that is rejected because the server is busy is one only when the
    /// budget is over.
    pub fn get_connection(&self) -> RedisResult<Connection> {
        self.connect_blocking(|| self.inner.get_connection())
    }

    /// Connects, also while the server is busy; each try to reach the server may take so long.
    ///
    /// # Errors
    /// As [`Client::get_connection`].
    pub fn get_connection_with_timeout(&self, timeout: Duration) -> RedisResult<Connection> {
        self.connect_blocking(|| self.inner.get_connection_with_timeout(timeout))
    }

    /// Wraps a blocking connection to the server of this client.
    pub fn wrap<C: ConnectionLike>(&self, connection: C) -> Connection<C> {
        Connection::new(connection, self.door.next())
    }

    /// Does something that a busy server rejects, again and again until it is accepted or the budget is over: for what the
    /// `redis` crate does by itself and no wrapped connection sees, such as subscribing.
    ///
    /// An error must mean that nothing was executed if its code is `BUSY`, so this is not for scripts, and not for
    /// pipelines.
    ///
    /// ```no_run
    /// # fn main() -> redis::RedisResult<()> {
    /// let client = unbusy::Client::open("redis://127.0.0.1/")?;
    /// let mut connection = client.get_connection()?;
    /// let mut pubsub = connection.get_mut().as_pubsub();
    /// client.hold(|| pubsub.subscribe("news"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The last one that `attempt` returned.
    pub fn hold<T>(&self, mut attempt: impl FnMut() -> RedisResult<T>) -> RedisResult<T> {
        let mut patience = Patience::new(self.door.clone());
        loop {
            match attempt() {
                Ok(value) => return Ok(patience.done(value)),
                Err(error) => block_on(patience.wait(error))?,
            }
        }
    }

    /// Where this client connects to, and as whom. See [`redis::Client::get_connection_info`].
    pub fn get_connection_info(&self) -> &ConnectionInfo {
        self.inner.get_connection_info()
    }

    /// The wrapped client, for what only it can do.
    pub const fn inner(&self) -> &redis::Client {
        &self.inner
    }

    fn connect_blocking(
        &self,
        connect: impl FnMut() -> RedisResult<redis::Connection>,
    ) -> RedisResult<Connection> {
        let mut connection = self.wrap(self.hold(connect)?);
        if let Some(mut survey) = self.door.gate.survey() {
            while let Some(question) = survey::question(&survey) {
                survey::hear(&mut survey, &connection.req_command(&question));
            }
            self.door.gate.learn(&survey);
        }
        Ok(connection)
    }
}

/// Only the address, since there may be a password.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&address(self.inner.get_connection_info())).finish()
    }
}

impl From<redis::Client> for Client {
    fn from(inner: redis::Client) -> Self {
        Self::new(inner, &Policy::default())
    }
}

#[cfg(feature = "aio")]
mod aio {
    use super::redis;
    use super::redis::AsyncConnectionConfig;

    use super::super::aio::{Connection, Link, PubSub};
    use super::super::redis::Value;
    #[cfg(feature = "connection-manager")]
    use super::super::redis::cmd;
    use super::{Client, Duration, Patience, RedisResult, survey};
    use unbusy_core::Survey;

    impl Client {
        /// Connects, also while the server is busy.
        ///
        /// A command that the server is silent about may still be executed, so giving up on it makes its outcome unknown.
        /// The `redis` crate gives up after half a second; this connection after the silence before BUSY
        /// ([`Policy::threshold`](crate::Policy::threshold), 5 s if it is not stated) and
        /// [`Policy::max_wait`](crate::Policy::max_wait) together. If waiting is switched off, so is this.
        ///
        /// # Errors
        /// As [`redis::Client::get_multiplexed_async_connection`]. A set-up that is rejected because the server is busy is
        /// one only when the budget is over.
        pub async fn get_multiplexed_async_connection(&self) -> RedisResult<Connection> {
            let config = AsyncConnectionConfig::new();
            let Some(timeout) = self.response_timeout else {
                return self.get_multiplexed_async_connection_with_config(&config).await;
            };
            self.connect_async(&config.set_response_timeout(None), Some(timeout)).await
        }

        /// Connects, also while the server is busy, with settings of your own. A response time-out in them counts from the
        /// sending of a command, does not end its waiting before that, and is never followed by sending it again.
        ///
        /// # Errors
        /// As [`Client::get_multiplexed_async_connection`].
        pub async fn get_multiplexed_async_connection_with_config(
            &self,
            config: &AsyncConnectionConfig,
        ) -> RedisResult<Connection> {
            self.connect_async(config, None).await
        }

        async fn connect_async(
            &self,
            config: &AsyncConnectionConfig,
            limit: Option<Duration>,
        ) -> RedisResult<Connection> {
            let mut patience = self.patience();
            let connection = loop {
                match self.inner.get_multiplexed_async_connection_with_config(config).await {
                    Ok(connection) => break patience.done(connection),
                    Err(error) => patience.wait(error).await?,
                }
            };
            let mut connection = self.wrap_async(connection);
            connection.give_up_after(limit);
            if let Some(survey) = self.door.gate.survey() {
                self.ask(survey, &mut connection).await?;
            }
            Ok(connection)
        }

        /// A connection for subscriptions, made also while the server is busy.
        ///
        /// # Errors
        /// As [`redis::Client::get_async_pubsub`].
        pub async fn get_async_pubsub(&self) -> RedisResult<PubSub> {
            let mut patience = self.patience();
            loop {
                match self.inner.get_async_pubsub().await {
                    Ok(pubsub) => return Ok(PubSub::new(patience.done(pubsub), self.door.next())),
                    Err(error) => patience.wait(error).await?,
                }
            }
        }

        /// For doing something again that a busy server rejects; see [`Patience`].
        pub fn patience(&self) -> Patience {
            Patience::new(self.door.clone())
        }

        /// Wraps an asynchronous connection to the server of this client.
        pub fn wrap_async<L: Link>(&self, link: L) -> Connection<L> {
            Connection::new(link, self.door.next())
        }

        /// Asks the server of itself if it is time to, or just whether it is there.
        #[cfg(feature = "connection-manager")]
        pub(super) async fn greet<L: Link>(&self, connection: &mut Connection<L>) -> RedisResult<()> {
            match self.door.gate.survey() {
                Some(survey) => self.ask(survey, connection).await,
                None => cmd("PING").exec_async(connection).await,
            }
        }

        async fn ask<L: Link>(&self, mut survey: Survey, connection: &mut Connection<L>) -> RedisResult<()> {
            while let Some(question) = survey::question(&survey) {
                let reply = question.query_async(connection).await;
                if reply.as_ref().is_err_and(redis::RedisError::is_unrecoverable_error) {
                    return reply.map(|_: Value| ());
                }
                survey::hear(&mut survey, &reply);
            }
            self.door.gate.learn(&survey);
            Ok(())
        }
    }
}

#[cfg(feature = "connection-manager")]
mod manager {
    use super::redis::aio::ConnectionManagerConfig;

    use super::super::Manager;
    use super::super::aio::Connection;
    use super::{Client, RedisResult};

    impl Client {
        /// A connection that reconnects by itself, also while the server is busy. It gives up on a silent server as late as
        /// that of [`Client::get_multiplexed_async_connection`].
        ///
        /// # Errors
        /// As [`redis::Client::get_connection_manager`].
        pub async fn get_connection_manager(&self) -> RedisResult<Connection<Manager>> {
            let mut config = ConnectionManagerConfig::new();
            if let Some(timeout) = self.response_timeout {
                config = config.set_response_timeout(Some(timeout));
            }
            self.get_connection_manager_with_config(config).await
        }

        /// A connection that reconnects by itself, with settings of your own.
        ///
        /// # Errors
        /// As [`redis::Client::get_connection_manager`].
        pub async fn get_connection_manager_with_config(
            &self,
            config: ConnectionManagerConfig,
        ) -> RedisResult<Connection<Manager>> {
            let mut connection = self.wrap_async(Manager::new(self.inner.clone(), config)?);
            // The first connection is made here, so that an address that leads nowhere is told at once.
            self.greet(&mut connection).await?;
            Ok(connection)
        }

        /// A connection that reconnects by itself and connects only when it is first used, with settings of your own.
        ///
        /// # Errors
        /// As [`redis::Client::get_connection_manager_lazy`].
        pub fn get_connection_manager_lazy(
            &self,
            config: ConnectionManagerConfig,
        ) -> RedisResult<Connection<Manager>> {
            Ok(self.wrap_async(Manager::new(self.inner.clone(), config)?))
        }
    }
}

fn address(info: &ConnectionInfo) -> String {
    info.addr().to_string()
}
