//! Pools keep their connections while the server is busy.
#![cfg(all(feature = "r2d2", feature = "bb8", feature = "deadpool"))]
mod common;

use common::{client, make_busy};
use redis::{AsyncCommands, Commands};
use testkit::{Flavor, Server};

/// Connections that the server has accepted so far.
fn accepted(server: &Server) -> u64 {
    let info = server.client().cmd(&["INFO", "stats"]).text();
    let count = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.expect("a count").trim().parse().expect("a number")
}

#[test]
fn r2d2_keeps_its_connections() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let pool = r2d2::Pool::builder().max_size(4).test_on_check_out(true).build(client(&server)).unwrap();
        let before = accepted(&server);
        let script = make_busy(&server, 500);
        for _ in 0..3 {
            pool.get().unwrap().incr::<_, _, u64>("n", 1).unwrap();
        }
        script.join();
        // Asking whether the server is busy and for its numbers costs connections, too.
        let others = accepted(&server) - before;
        assert!(others <= 3, "{flavor}: {others} new connections");
        assert_eq!(server.client().cmd(&["GET", "n"]).text(), "3");
    }
}

#[tokio::test]
async fn bb8_keeps_its_connections() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let pool =
            bb8::Pool::builder().max_size(1).test_on_check_out(true).build(client(&server)).await.unwrap();
        pool.get().await.unwrap().incr::<_, _, u64>("n", 1).await.unwrap();
        let before = accepted(&server);
        let script = make_busy(&server, 500);
        pool.get().await.unwrap().incr::<_, _, u64>("n", 1).await.unwrap();
        script.join();
        let others = accepted(&server) - before;
        assert!(others <= 3, "{flavor}: {others} new connections");
        assert_eq!(server.client().cmd(&["GET", "n"]).text(), "2");
    }
}

#[tokio::test]
async fn deadpool_keeps_its_connections() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let builder = deadpool::managed::Pool::<unbusy::Client>::builder(client(&server));
        let pool = builder.max_size(1).build().unwrap();
        pool.get().await.unwrap().incr::<_, _, u64>("n", 1).await.unwrap();
        let before = accepted(&server);
        let script = make_busy(&server, 500);
        pool.get().await.unwrap().incr::<_, _, u64>("n", 1).await.unwrap();
        script.join();
        let others = accepted(&server) - before;
        assert!(others <= 3, "{flavor}: {others} new connections");
        assert_eq!(server.client().cmd(&["GET", "n"]).text(), "2");
    }
}
