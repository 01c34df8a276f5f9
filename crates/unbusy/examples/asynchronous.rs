//! Serves many tasks on one connection, and announces what they did.
//!
//! `cargo run -p unbusy --example asynchronous [URL]`
use futures_util::StreamExt;
use redis::{AsyncCommands, RedisResult};
use tokio::task::JoinSet;
use unbusy::Client; // was: use redis::Client;

/// How many tasks there are, and how often each counts.
pub(crate) const TASKS: u64 = 50;
pub(crate) const ROUNDS: u64 = 200;

#[tokio::main]
async fn main() -> RedisResult<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1/".into());
    run(&url).await
}

/// Counts and announces on this server.
///
/// # Errors
/// Any that the server or the connection gives.
pub(crate) async fn run(url: &str) -> RedisResult<()> {
    let client = Client::open(url)?;
    let mut pubsub = client.get_async_pubsub().await?;
    pubsub.subscribe("done").await?;
    let connection = client.get_multiplexed_async_connection().await?;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(work(connection.clone(), task));
    }
    let ends: RedisResult<Vec<u64>> = tasks.join_all().await.into_iter().collect();
    assert!(ends?.into_iter().all(|count| count == ROUNDS));
    let mut announced = 0;
    let mut messages = pubsub.on_message();
    while announced < TASKS {
        announced += u64::from(messages.next().await.is_some());
    }
    Ok(())
}

async fn work(mut connection: impl AsyncCommands, task: u64) -> RedisResult<u64> {
    let mut count = 0;
    for round in 0..ROUNDS {
        let key = format!("task:{task}");
        (count,) =
            redis::pipe().incr(&key, 1).rpush("order", task).ignore().query_async(&mut connection).await?;
        let _: () = connection.set(format!("last:{task}"), round).await?;
    }
    let _: () = connection.publish("done", task).await?;
    Ok(count)
}
