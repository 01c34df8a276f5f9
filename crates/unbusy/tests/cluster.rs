//! Clusters of which one node is busy.
#![cfg(feature = "cluster-async")]
mod common;

use std::time::{Duration, Instant};

use common::{make_busy, make_silent};
use redis::cluster::ClusterClient;
use redis::{AsyncCommands, Commands};
use testkit::{Flavor, Server};

/// A key that the first node has, and one that the second has.
const KEYS: [&str; 2] = ["bar", "foo"];

struct Cluster([Server; 2]);

impl Cluster {
    fn start(flavor: Flavor) -> Self {
        Self::with_threshold(flavor, Duration::from_millis(100))
    }

    fn with_threshold(flavor: Flavor, threshold: Duration) -> Self {
        let node =
            || Server::builder(flavor).threshold(threshold).arg("--cluster-enabled").arg("yes").start();
        let cluster = Self([node(), node()]);
        let [first, second] = &cluster.0;
        for (server, slots) in [(first, ["0", "8191"]), (second, ["8192", "16383"])] {
            let slots: Vec<String> = (slots[0].parse::<u32>().unwrap()..=slots[1].parse().unwrap())
                .map(|slot| slot.to_string())
                .collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            assert_eq!(server.client().cmd(&words).text(), "OK");
        }
        let port = second.port().to_string();
        assert_eq!(first.client().cmd(&["CLUSTER", "MEET", "127.0.0.1", &port]).text(), "OK");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !cluster.0.iter().all(is_complete) {
            assert!(Instant::now() < deadline, "the nodes do not find each other");
            std::thread::sleep(Duration::from_millis(20));
        }
        cluster
    }

    fn client(&self) -> ClusterClient {
        let builder = ClusterClient::builder(self.0.iter().map(Server::url).collect::<Vec<_>>());
        builder.response_timeout(Duration::from_secs(60)).build().unwrap()
    }
}

fn is_complete(server: &Server) -> bool {
    let info = server.client().cmd(&["CLUSTER", "INFO"]).text();
    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
}

#[test]
fn only_who_asks_a_busy_node_waits() {
    for flavor in Flavor::ALL {
        let cluster = Cluster::start(flavor);
        let mut connection = unbusy::cluster::get_connection(&cluster.client()).unwrap();
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
        let mut connection = unbusy::cluster::get_async_connection(&cluster.client()).await.unwrap();
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
        let mut connection = unbusy::cluster::get_async_connection(&cluster.client()).await.unwrap();
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
        assert_eq!(connection.get::<_, u64>(KEYS[0]).await.unwrap(), n + 1);
    }
}
