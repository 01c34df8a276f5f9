//! Clusters of which one node is busy.
#![cfg(feature = "cluster-async")]
mod common;

use std::time::{Duration, Instant};

use common::{Cluster, make_busy, make_silent};
use redis::cluster::ClusterClient;
use redis::{AsyncCommands, Commands};
use testkit::{Flavor, Server};

/// A key that the first node has, and one that the second has.
const KEYS: [&str; 2] = ["bar", "foo"];

fn cluster_client(cluster: &Cluster) -> ClusterClient {
    let builder = ClusterClient::builder(cluster.0.iter().map(Server::url).collect::<Vec<_>>());
    builder.response_timeout(Duration::from_secs(60)).build().unwrap()
}

#[test]
fn only_who_asks_a_busy_node_waits() {
    for flavor in Flavor::ALL {
        let cluster = Cluster::start(flavor);
        let mut connection = unbusy::cluster::get_connection(&cluster_client(&cluster)).unwrap();
        for key in KEYS {
            connection.set::<_, _, ()>(key, 0).unwrap();
        }
        let script = make_busy(&cluster.0[0], 800);
        let start = Instant::now();
        assert_eq!(connection.incr::<_, _, u64>(KEYS[1], 1).unwrap(), 1);
        assert!(start.elapsed() < Duration::from_millis(300), "{flavor}: the other node is not busy");
        assert_eq!(connection.incr::<_, _, u64>(KEYS[0], 1).unwrap(), 1, "{flavor}");
        let (_, end) = script.join();
        assert!(Instant::now() >= end, "{flavor}: it did not wait");
    }
}

#[tokio::test]
async fn asynchronous_connections_wait_node_by_node() {
    for flavor in Flavor::ALL {
        let cluster = Cluster::start(flavor);
        let mut connection = unbusy::cluster::get_async_connection(&cluster_client(&cluster)).await.unwrap();
        let script = make_busy(&cluster.0[0], 1_000);
        let start = Instant::now();
        assert_eq!(connection.incr::<_, _, u64>(KEYS[1], 1).await.unwrap(), 1);
        assert!(start.elapsed() < Duration::from_millis(300), "{flavor}: the other node is not busy");
        assert_eq!(connection.incr::<_, _, u64>(KEYS[0], 1).await.unwrap(), 1, "{flavor}");
        script.join();
    }
}

#[tokio::test]
async fn pipelines_are_executed_once_and_in_order() {
    for flavor in Flavor::ALL {
        let cluster = Cluster::start(flavor);
        let mut connection = unbusy::cluster::get_async_connection(&cluster_client(&cluster)).await.unwrap();
        let script = make_busy(&cluster.0[0], 500);
        let mut pipeline = redis::pipe();
        for _ in 0..100 {
            pipeline.incr(KEYS[0], 1);
        }
        let replies: Vec<u64> = pipeline.query_async(&mut connection).await.unwrap();
        assert!(replies.into_iter().eq(1..=100), "{flavor}");
        script.join();
    }
}

/// The redis crate's own cluster connection sends a command again after a node's time-out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_is_never_followed_by_another_try() {
    let cluster = Cluster::with_threshold(Flavor::Redis70, Duration::from_secs(5));
    let nodes = cluster.0.iter().map(Server::url).collect::<Vec<_>>();
    let builder = ClusterClient::builder(nodes).response_timeout(Duration::from_millis(200));
    let client = builder.build().unwrap();
    let mut connection = unbusy::cluster::get_async_connection(&client).await.unwrap();
    let mut blocking = unbusy::cluster::get_connection(&client).unwrap();
    for n in [1, 3] {
        let script = make_silent(&cluster.0[0], 1_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let error = connection.incr::<_, _, u64>(KEYS[0], 1).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        tokio::task::block_in_place(|| blocking.incr::<_, _, u64>(KEYS[0], 1)).unwrap_err();
        script.join();
        // Each connection's GET is behind its INCR, so after both all is done.
        tokio::task::block_in_place(|| blocking.get::<_, u64>(KEYS[0])).unwrap();
        assert_eq!(connection.get::<_, u64>(KEYS[0]).await.unwrap(), n + 1);
    }
}
