//! What the tests share.
#![allow(dead_code, reason = "each test binary uses its share")]

use std::time::Duration;

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

/// How many commands the server has rejected with BUSY so far.
pub(crate) fn rejections(server: &Server) -> u64 {
    let info = server.client().cmd(&["INFO", "errorstats"]).text();
    let count = info.lines().find_map(|line| line.strip_prefix("errorstat_BUSY:count="));
    count.map_or(0, |count| count.trim().parse().expect("a number"))
}

/// Makes the server silent first and busy then.
pub(crate) fn make_silent(server: &Server, millis: u64) -> BusyScript {
    BusyScript::start(server.address(), Duration::from_millis(millis))
}
