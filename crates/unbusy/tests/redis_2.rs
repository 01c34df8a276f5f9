//! The same for version 2 of the `redis` crate.
#![cfg(all(feature = "redis-2", feature = "connection-manager"))]
mod common;

use std::time::Instant;

use common::{make_busy, make_silent};
use redis2::{AsyncCommands, Commands};
use testkit::{Flavor, Server};
use unbusy::redis_2::Client;

const COMMANDS: u64 = 20_000;

fn increments() -> redis2::Pipeline {
    let mut pipeline = redis2::pipe();
    for _ in 0..COMMANDS {
        pipeline.incr("n", 1);
    }
    pipeline
}

#[test]
fn blocking_connections_wait() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let client = Client::open(format!("{}/1", server.url())).unwrap();
        let script = make_busy(&server, 400);
        let mut connection = client.get_connection().unwrap();
        assert_eq!(connection.incr::<_, _, u64>("n", 1).unwrap(), 1, "{flavor}");
        script.join();
        assert_eq!(connection.del::<_, u64>("n").unwrap(), 1);
        let script = make_silent(&server, 150);
        let replies: Vec<u64> = increments().query(&mut connection).unwrap();
        assert!(replies.into_iter().eq(1..=COMMANDS), "{flavor}");
        script.join();
        let script = make_busy(&server, 400);
        let (count,): (u64,) = redis2::pipe().atomic().incr("n", 1).query(&mut connection).unwrap();
        assert_eq!(count, COMMANDS + 1, "{flavor}");
        script.join();
    }
}

#[tokio::test]
async fn asynchronous_connections_wait() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let client = Client::open(server.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut manager = client.get_connection_manager().await.unwrap();
        let script = make_silent(&server, 150);
        let replies: Vec<u64> = increments().query_async(&mut connection).await.unwrap();
        assert!(replies.into_iter().eq(1..=COMMANDS), "{flavor}");
        script.join();
        let script = make_busy(&server, 600);
        assert_eq!(manager.incr::<_, _, u64>("n", 1).await.unwrap(), COMMANDS + 1, "{flavor}");
        let (_, end) = script.join();
        assert!(Instant::now() >= end);
    }
}

/// However they got there.
#[test]
fn both_versions_wait_together() {
    let server = Server::start(Flavor::Redis70);
    let one = unbusy::Client::open(server.url()).unwrap();
    let two = Client::open(server.url()).unwrap();
    let (mut first, mut second) = (one.get_connection().unwrap(), two.get_connection().unwrap());
    let script = make_busy(&server, 2_000);
    std::thread::scope(|scope| {
        scope.spawn(|| redis::Commands::incr::<_, _, ()>(&mut first, "n", 1).unwrap());
        scope.spawn(|| second.incr::<_, _, ()>("n", 1).unwrap());
    });
    script.join();
    let rejected = server.rejections();
    // One asks for both: at most one try per interval, which grows to 8 ms, not two.
    assert!(rejected < 300, "{rejected} rejected");
}
