//! What the suite knows as the crate `redis`: the crate itself, and with the feature `unbusy` the types of unbusy in
//! place of its own. What is named here hides what the glob brings.

pub use real_redis::*;

#[cfg(feature = "unbusy")]
pub use unbusy::{Client, Connection, PubSub};

pub mod aio {
    pub use real_redis::aio::*;

    #[cfg(feature = "unbusy")]
    pub use unbusy::aio::{PubSub, PubSubSink};
    #[cfg(feature = "unbusy")]
    pub type MultiplexedConnection = unbusy::aio::Connection;
    #[cfg(feature = "unbusy")]
    pub type ConnectionManager = unbusy::aio::Connection<unbusy::Manager>;

    /// What is `ConnectionManager::new_with_config` is a method of the client with unbusy.
    pub async fn manager(
        client: super::Client,
        config: ConnectionManagerConfig,
    ) -> real_redis::RedisResult<ConnectionManager> {
        client.get_connection_manager_with_config(config).await
    }
}

pub mod cluster {
    pub use real_redis::cluster::*;

    #[cfg(feature = "unbusy")]
    pub type ClusterConnection<C = unbusy::cluster::Node> = real_redis::cluster::ClusterConnection<C>;
    #[cfg(feature = "unbusy")]
    pub use unbusy::cluster::get_connection;

    /// What is `client.get_connection()` becomes a function with unbusy, so the suite calls a function in any case.
    #[cfg(not(feature = "unbusy"))]
    pub fn get_connection(client: &ClusterClient) -> real_redis::RedisResult<ClusterConnection> {
        client.get_connection()
    }
}

pub mod cluster_async {
    pub use real_redis::cluster_async::*;

    #[cfg(feature = "unbusy")]
    pub type ClusterConnection<C = unbusy::aio::Connection> =
        real_redis::cluster_async::ClusterConnection<C>;
    #[cfg(feature = "unbusy")]
    pub use unbusy::cluster::get_async_connection;

    /// As [`super::cluster::get_connection`].
    #[cfg(not(feature = "unbusy"))]
    pub async fn get_async_connection(
        client: &real_redis::cluster::ClusterClient,
    ) -> real_redis::RedisResult<ClusterConnection> {
        client.get_async_connection().await
    }
}
