//! Managers for connection pools. A pool asks a connection with PING before it hands it out, and throws it away if the
//! answer is an error; while the server is busy that would be all of them. Here BUSY is as good an answer as any.

#[cfg(feature = "r2d2")]
mod r2d2_pool {
    use super::super::redis;
    use super::super::redis::{ConnectionLike, RedisError};

    use super::super::{Client, Connection};

    impl r2d2::ManageConnection for Client {
        type Connection = Connection;
        type Error = RedisError;

        fn connect(&self) -> Result<Connection, RedisError> {
            self.get_connection()
        }

        fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
            connection.get_mut().req_command(&redis::cmd("PING")).map(drop)
        }

        fn has_broken(&self, connection: &mut Connection) -> bool {
            !connection.is_open()
        }
    }
}

#[cfg(feature = "bb8")]
mod bb8_pool {
    use super::super::redis;
    use super::super::redis::RedisError;

    use super::super::Client;
    use super::super::aio::{Connection, Link};

    impl bb8::ManageConnection for Client {
        type Connection = Connection;
        type Error = RedisError;

        async fn connect(&self) -> Result<Connection, RedisError> {
            self.get_multiplexed_async_connection().await
        }

        async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
            connection.get_mut().command(&redis::cmd("PING")).await.map(drop)
        }

        fn has_broken(&self, _: &mut Connection) -> bool {
            false
        }
    }
}

#[cfg(feature = "deadpool")]
mod deadpool_pool {
    use super::super::redis;
    use super::super::redis::RedisError;
    use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};

    use super::super::Client;
    use super::super::aio::{Connection, Link};

    impl Manager for Client {
        type Type = Connection;
        type Error = RedisError;

        async fn create(&self) -> Result<Connection, RedisError> {
            self.get_multiplexed_async_connection().await
        }

        async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<RedisError> {
            // A connection may come back with a watch; a busy server takes UNWATCH.
            let reply = connection.get_mut().command(&redis::cmd("UNWATCH")).await;
            reply.map(drop).map_err(RecycleError::Backend)
        }
    }
}
