//! What the tests share.
#![allow(dead_code, reason = "each test binary uses its share")]

use std::time::{Duration, Instant};

use testkit::{BusyScript, Flavor, Server};

/// Runs a scenario on every server, each with a threshold of 100 ms.
pub(crate) fn on_every_server(scenario: impl Fn(&Server, unbusy::Client)) {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        scenario(&server, client(&server));
    }
}

pub(crate) fn client(server: &Server) -> unbusy::Client {
    unbusy::Client::open(server.url()).expect("an address")
}

/// Makes the server busy, for so long in all.
pub(crate) fn make_busy(server: &Server, millis: u64) -> BusyScript {
    let script = BusyScript::start(server.address(), Duration::from_millis(millis));
    script.wait_until_busy(server.address());
    script
}

/// Makes the server silent first and busy then.
pub(crate) fn make_silent(server: &Server, millis: u64) -> BusyScript {
    BusyScript::start(server.address(), Duration::from_millis(millis))
}

/// Two nodes, each with half of the slots.
pub(crate) struct Cluster(pub(crate) [Server; 2]);

impl Cluster {
    pub(crate) fn start(flavor: Flavor) -> Self {
        Self::with_threshold(flavor, Duration::from_millis(100))
    }

    pub(crate) fn with_threshold(flavor: Flavor, threshold: Duration) -> Self {
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
}

fn is_complete(server: &Server) -> bool {
    let info = server.client().cmd(&["CLUSTER", "INFO"]).text();
    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
}
