//! The example programs go through a script of three seconds: silence, BUSY and the end of both.
#![cfg(feature = "cluster-async")]
#![allow(dead_code, reason = "the programs' main functions are not called")]
mod common;

#[path = "../examples/asynchronous.rs"]
mod asynchronous;
#[path = "../examples/cluster.rs"]
mod cluster;
#[path = "../examples/pipelines.rs"]
mod pipelines;
#[path = "../examples/scripts.rs"]
mod scripts;

use std::thread;
use std::time::{Duration, Instant};

use common::{Cluster, make_silent};
use testkit::{Flavor, Server};

const SCRIPT: Duration = Duration::from_secs(3);

/// Runs a program, and makes the server busy in the midst of it: when this command, which tells how far it is, is answered
/// so much.
fn through_a_script(server: &Server, progress: &[&str], midst: i64, program: impl FnOnce()) {
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut client = server.client();
            let deadline = Instant::now() + Duration::from_secs(20);
            while client.cmd(progress).integer() < midst {
                assert!(Instant::now() < deadline, "the program does not count");
            }
            let (_, end) = make_silent(server, SCRIPT.as_millis() as u64).join();
            end
        });
        program();
        let now = Instant::now();
        assert!(now >= busy.join().expect("the script ran"), "{}: the program did not wait", server.flavor());
    });
}

fn numbers(server: &Server, words: &[&str]) -> Vec<u64> {
    let mut client = server.client();
    words.iter().map(|key| client.cmd(&["GET", key]).text().parse().expect("a number")).collect()
}

#[test]
fn pipelines_and_transactions() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        through_a_script(&server, &["LLEN", "log"], 100, || pipelines::run(&server.url()).unwrap());
        let orders = pipelines::ORDERS;
        assert_eq!(
            numbers(&server, &["stock", "orders", "sold", "takings"]),
            [0, orders, orders, 5 * orders]
        );
        let log = server.client().cmd(&["LRANGE", "log", "0", "-1"]);
        let log = log.items().iter().map(testkit::Reply::text);
        assert!(log.eq((0..orders).map(|order| order.to_string())), "{flavor}: out of order");
    }
}

#[test]
fn scripts_and_iterators() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        through_a_script(&server, &["DBSIZE"], 100, || scripts::run(&server.url()).unwrap());
        assert_eq!(numbers(&server, &["alice", "bob"]), [0, scripts::MOVES], "{flavor}");
    }
}

#[test]
fn asynchronous_tasks() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        through_a_script(&server, &["LLEN", "order"], 100, || {
            runtime.block_on(asynchronous::run(&server.url())).unwrap();
        });
        let length = server.client().cmd(&["LLEN", "order"]).integer();
        assert_eq!(length as u64, asynchronous::TASKS * asynchronous::ROUNDS, "{flavor}");
    }
}

#[test]
fn clusters() {
    for flavor in Flavor::ALL {
        let cluster = Cluster::start(flavor);
        let urls = cluster.0.iter().map(Server::url).collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let [first, second] = &cluster.0;
        through_a_script(first, &["DBSIZE"], 1, || runtime.block_on(cluster::run(urls)).unwrap());
        let counted = |server: &Server| server.client().cmd(&["DBSIZE"]).integer() as u64;
        assert_eq!(counted(first) + counted(second), 2 * cluster::KEYS, "{flavor}");
    }
}
