//! Clusters: each node has a gate of its own, so that one that is busy stops nobody at the others.
//!
//! ```no_run
//! use redis::Commands;
//! use redis::cluster::ClusterClient;
//!
//! # fn main() -> redis::RedisResult<()> {
//! let client = ClusterClient::new(vec!["redis://127.0.0.1:7000/"])?;
//! // let mut connection = client.get_connection()?;
//! let mut connection = unbusy::cluster::get_connection(&client)?;
//! let visits: u64 = connection.incr("visits", 1)?;
//! # Ok(())
//! # }
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::redis::cluster::{ClusterClient, ClusterConnection, Connect};
use super::redis::{Cmd, ConnectionLike, ErrorKind, IntoConnectionInfo, RedisResult, Value};

use super::{Client, Connection};
use crate::Policy;

/// For nodes that are connected to from now on.
static POLICY: Mutex<Option<Policy>> = Mutex::new(None);

/// Sets the policy for all nodes of all clusters that are connected to from now on. Nodes come and go by themselves, so it
/// cannot be given to a connection.
pub fn set_policy(policy: Policy) {
    *POLICY.lock().unwrap_or_else(PoisonError::into_inner) = Some(policy);
}

fn client(info: impl IntoConnectionInfo) -> RedisResult<Client> {
    let client = Client::open(info)?;
    let policy = POLICY.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(match policy {
        Some(policy) => client.with_policy(&policy),
        None => client,
    })
}

/// Connects to a cluster, also while nodes of it are busy.
///
/// The blocking cluster connection of the `redis` crate takes no pipelines but those of
/// [`cluster_pipe`](redis::cluster::cluster_pipe), and these work with its own connections only. Where pipelines are needed,
/// use an asynchronous connection.
///
/// # Errors
/// As [`ClusterClient::get_connection`].
pub fn get_connection(client: &ClusterClient) -> RedisResult<ClusterConnection<Node>> {
    client.get_generic_connection()
}

/// A blocking connection to one node of a cluster.
///
/// After a time-out the cluster connection of the `redis` crate sends a command again, though it may have been executed. So
/// a node's time-out is told as an error that is not tried again.
pub struct Node(Connection);

impl Node {
    fn tell<T>(result: RedisResult<T>) -> RedisResult<T> {
        const TIMED_OUT: &str = "timed out, and not sent again, since it may have been executed";
        result.map_err(|error| {
            if error.is_timeout() { (ErrorKind::Client, TIMED_OUT, error.to_string()).into() } else { error }
        })
    }
}

impl ConnectionLike for Node {
    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        Self::tell(self.0.req_packed_command(packed))
    }

    fn req_command(&mut self, command: &Cmd) -> RedisResult<Value> {
        Self::tell(self.0.req_command(command))
    }

    fn req_packed_commands(&mut self, packed: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        Self::tell(self.0.req_packed_commands(packed, offset, count))
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }

    fn supports_pipelining(&self) -> bool {
        self.0.supports_pipelining()
    }

    fn check_connection(&mut self) -> bool {
        self.0.check_connection()
    }

    fn is_open(&self) -> bool {
        self.0.is_open()
    }
}

impl Connect for Node {
    fn connect<T: IntoConnectionInfo>(info: T, timeout: Option<Duration>) -> RedisResult<Self> {
        let client = client(info)?;
        let connection = match timeout {
            Some(timeout) => client.get_connection_with_timeout(timeout),
            None => client.get_connection(),
        };
        connection.map(Self)
    }

    fn send_packed_command(&mut self, packed: &[u8]) -> RedisResult<()> {
        self.0.get_mut().send_packed_command(packed)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> RedisResult<()> {
        self.0.inner().set_write_timeout(timeout)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> RedisResult<()> {
        self.0.inner().set_read_timeout(timeout)
    }

    fn recv_response(&mut self) -> RedisResult<Value> {
        self.0.get_mut().recv_response()
    }
}

#[cfg(feature = "cluster-async")]
mod aio {
    use super::super::redis::cluster_async::{ClusterConnection, Connect};
    use super::super::redis::{AsyncConnectionConfig, IntoConnectionInfo, RedisFuture};

    use super::super::aio::Connection;
    use super::{ClusterClient, RedisResult, client};

    /// Connects to a cluster, also while nodes of it are busy.
    ///
    /// A response time-out set with the client's builder does not end the waiting for a single node, since the `redis`
    /// crate would send the command again, which may have been executed. It ends that for a whole call, unless
    /// `overall_response_timeout` says otherwise. As on every cluster connection of the `redis` crate, a command whose
    /// future is dropped, also by such a time-out, may still be executed.
    ///
    /// # Errors
    /// As [`ClusterClient::get_async_connection`].
    pub async fn get_async_connection(client: &ClusterClient) -> RedisResult<ClusterConnection<Connection>> {
        client.get_async_generic_connection().await
    }

    impl Connect for Connection {
        fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
        where
            T: IntoConnectionInfo + Send + 'a,
        {
            // After a node's time-out the cluster connection would send the command again, which may have been executed.
            let config = config.set_response_timeout(None);
            Box::pin(async move { client(info)?.get_multiplexed_async_connection_with_config(&config).await })
        }
    }
}
#[cfg(feature = "cluster-async")]
pub use aio::get_async_connection;
