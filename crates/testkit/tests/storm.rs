//! The program that makes servers of other test suites busy.
#![cfg(target_os = "linux")]

use std::{
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use testkit::{Client, Flavor, Reply};

const LIMIT: Duration = Duration::from_secs(20);

/// A server that is started in the way a suite does, and ended when the test is over.
struct Started(Child, String);

impl Started {
    fn new(flavor: Flavor, seed: Option<&str>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_storm"));
        command.arg0("redis-server").args(["--port", &port.to_string(), "--save", ""]).stdout(Stdio::null());
        command.env("UNBUSY_STORM_SERVER", flavor.binary().expect("cargo xtask servers"));
        if let Some(seed) = seed {
            command.env("UNBUSY_STORM_SEED", seed);
        }
        let started = Self(command.spawn().expect("storm"), format!("127.0.0.1:{port}"));
        wait_for("the server", || std::net::TcpStream::connect(&started.1).is_ok());
        started
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {what} for {LIMIT:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_server_is_busy_now_and_then_and_the_storm_ends_with_it() {
    for flavor in Flavor::ALL {
        let started = Started::new(flavor, Some("7"));
        let mut client = Client::connect(&started.1);
        for busy in [true, false, true, false] {
            wait_for("a change", || client.cmd(&["PING"]).is_busy() == busy);
        }
        let storms = || storms_beside(&started.1);
        wait_for("the storm", || storms() == 1);
        let address = started.1.clone();
        drop(started);
        wait_for("the end of the storm", || storms_beside(&address) == 0);
    }
}

#[test]
fn without_a_seed_a_server_is_left_alone() {
    let started = Started::new(Flavor::Valkey91, None);
    assert_eq!(storms_beside(&started.1), 0);
    let threshold = Client::connect(&started.1).cmd(&["CONFIG", "GET", "lua-time-limit"]);
    assert_eq!(threshold, Reply::Array(vec![bulk("lua-time-limit"), bulk("5000")]));
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

/// How many storms there are for the server at this address.
fn storms_beside(address: &str) -> usize {
    let port = address.rsplit(':').next().expect("an address has a port");
    let is_storm = |process: &Path| {
        let words = std::fs::read(process.join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).skip(1).take(2).eq([b"--storm".as_slice(), port.as_bytes()])
    };
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    processes.filter(|process| is_storm(&process.path())).count()
}
