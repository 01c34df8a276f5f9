//! Counts on all nodes of a cluster, with a blocking connection and an asynchronous one.
//!
//! `cargo run -p unbusy --example cluster --features cluster-async URL…`
use redis::cluster::ClusterClient;
use redis::{AsyncCommands, Commands, RedisResult};

/// How many keys there are, and how often each is counted up by either connection.
pub(crate) const KEYS: u64 = 20;
pub(crate) const ROUNDS: u64 = 100;

#[tokio::main]
async fn main() -> RedisResult<()> {
    run(std::env::args().skip(1).collect()).await
}

/// Counts on the cluster that these nodes belong to.
///
/// # Errors
/// Any that the servers or the connections give.
pub(crate) async fn run(nodes: Vec<String>) -> RedisResult<()> {
    let client = ClusterClient::new(nodes)?;
    // was: client.get_async_connection().await?
    let mut connection = unbusy::cluster::get_async_connection(&client).await?;
    let blocking = tokio::task::spawn_blocking(move || count(&client));
    for round in 1..=ROUNDS {
        for key in 0..KEYS {
            let count: u64 = connection.incr(format!("async:{key}"), 1).await?;
            assert_eq!(count, round);
        }
    }
    blocking.await.expect("it does not panic")
}

fn count(client: &ClusterClient) -> RedisResult<()> {
    // was: client.get_connection()?
    let mut connection = unbusy::cluster::get_connection(client)?;
    for round in 1..=ROUNDS {
        for key in 0..KEYS {
            let count: u64 = connection.incr(format!("blocking:{key}"), 1)?;
            assert_eq!(count, round);
        }
    }
    Ok(())
}
