//! Masters that are busy when Sentinel is asked for them.
#![cfg(feature = "sentinel")]
mod common;

use std::time::{Duration, Instant};

use common::make_busy;
use redis::Commands;
use redis::sentinel::{SentinelClient, SentinelServerType};
use testkit::{Client, Flavor, ScriptedServer, Server};

/// What the `redis` crate asks a sentinel, answered for this master. A real one would need seconds to find it, and a quorum.
fn sentinel_of(master: &Server) -> ScriptedServer {
    let port = master.port().to_string();
    ScriptedServer::start(move |_, stream| {
        let mut peer = Client::from(stream);
        while let Some(command) = peer.try_read_frame(Duration::from_secs(20)) {
            let command = String::from_utf8_lossy(&command).to_uppercase();
            if command.contains("ROLE") {
                peer.send(b"*2\r\n$8\r\nsentinel\r\n*1\r\n$7\r\nservice\r\n");
                continue;
            }
            if !command.contains("SENTINEL") {
                peer.send(b"+OK\r\n");
                continue;
            }
            let words = ["name", "service", "ip", "127.0.0.1", "port", &port, "flags", "master"];
            peer.send(b"*1\r\n");
            peer.send(&testkit::encode(&words));
        }
    })
}

#[test]
fn a_busy_master_is_found() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let sentinel = sentinel_of(&server);
        let nodes = vec![sentinel.url()];
        let mut sentinel =
            SentinelClient::build(nodes, String::from("service"), None, SentinelServerType::Master).unwrap();
        let script = make_busy(&server, 600);
        assert_eq!(
            sentinel.get_client().err().unwrap().code(),
            Some("BUSY"),
            "{flavor}: else there is nothing to show"
        );
        let client = unbusy::sentinel::get_client(&mut sentinel, &unbusy::Policy::default()).unwrap();
        assert_eq!(client.get_connection().unwrap().incr::<_, _, u64>("n", 1).unwrap(), 1, "{flavor}");
        let (_, end) = script.join();
        assert!(Instant::now() >= end);
    }
}

#[cfg(feature = "aio")]
#[tokio::test]
async fn a_busy_master_is_found_without_blocking() {
    let server = Server::start(Flavor::Redis70);
    let sentinel = sentinel_of(&server);
    let nodes = vec![sentinel.url()];
    let mut sentinel =
        SentinelClient::build(nodes, String::from("service"), None, SentinelServerType::Master).unwrap();
    let script = make_busy(&server, 600);
    let policy = unbusy::Policy::default();
    let client = unbusy::sentinel::async_get_client(&mut sentinel, &policy).await.unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let count: u64 = redis::AsyncCommands::incr(&mut connection, "n", 1).await.unwrap();
    assert_eq!(count, 1);
    script.join();
}
