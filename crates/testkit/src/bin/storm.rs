//! Stands on PATH as `redis-server` and makes the server that it starts busy at random, for test suites of others that
//! start their own servers.
//!
//! It becomes the server that `UNBUSY_STORM_SERVER` names, so that the suite can end it as it is used to. If
//! `UNBUSY_STORM_SEED` is set, it leaves a child behind that runs slow scripts now and then until the server is gone, and
//! the server's threshold is low.
//!
//! A cluster is spared until it stands, since who puts it together cannot wait: this program must also stand on PATH as
//! `redis-cli`. It does what the one does that `UNBUSY_STORM_CLI` names, but when that has made a cluster it
//! leaves a file for each node in the folder `UNBUSY_STORM_FOLDER`.
#![allow(clippy::exit, reason = "the exit code of another program is passed on")]
#![allow(clippy::print_stderr, reason = "nobody but the caller is there to be told")]

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::process::{CommandExt, parent_id},
    path::{Path, PathBuf},
    process::{Command, Stdio, exit},
    thread,
    time::Duration,
};

use testkit::{Client, Reply, STORM_THRESHOLD};

/// Between two looks whether a cluster stands.
const RETRY: Duration = Duration::from_millis(2);
/// Between two looks whether a cluster is complete.
const CLUSTER_RETRY: Duration = Duration::from_millis(20);
/// How long a cluster's nodes are left alone after it was made: those who made it still look at it.
const CLUSTER_PAUSE: Duration = Duration::from_millis(300);

fn main() {
    let mut words = env::args_os();
    let name = PathBuf::from(words.next().unwrap_or_default());
    let args: Vec<_> = words.collect();
    if args.first().is_some_and(|word| word == "--storm") {
        return storm(&args[1..]);
    }
    match name.file_name().and_then(|name| name.to_str()) {
        Some("redis-cli") => exit(cli(&args)),
        _ => serve(&args),
    }
}

/// Becomes the server.
#[expect(
    clippy::zombie_processes,
    reason = "this process becomes the server, and ends before the storm does"
)]
fn serve(args: &[OsString]) {
    let mut server = Command::new(variable("UNBUSY_STORM_SERVER"));
    server.args(args);
    if let (Some(port), Some(seed)) = (port(args), env::var_os("UNBUSY_STORM_SEED")) {
        let in_cluster = args.iter().any(|word| word == "--cluster-enabled");
        // The name that all versions know.
        server.args(["--lua-time-limit", &STORM_THRESHOLD.as_millis().to_string()]);
        let storm = Command::new(env::current_exe().expect("this program lies somewhere"))
            .args(["--storm", &port.to_string()])
            .arg(seed)
            .arg(if in_cluster { "cluster" } else { "single" })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        storm.expect("this program can be started");
    }
    panic!("cannot start the server: {}", server.exec());
}

/// The port of a server that can be made busy.
fn port(args: &[OsString]) -> Option<u16> {
    if args.iter().any(|word| word == "--sentinel") {
        return None;
    }
    let at = args.iter().position(|word| word == "--port")?;
    args.get(at + 1)?.to_str()?.parse().ok().filter(|port| *port != 0)
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set"))
}

/// Does what `redis-cli` does, and tells when a cluster stands.
fn cli(args: &[OsString]) -> i32 {
    let cli = variable("UNBUSY_STORM_CLI");
    let status = match Command::new(&cli).args(args).status() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("cannot run {}: {error}", cli.display());
            return 127;
        }
    };
    let words = args.iter().filter_map(|word| word.to_str());
    let made = status.success() && words.clone().any(|word| word == "create");
    let ports: Vec<_> = words.filter_map(|word| word.strip_prefix("127.0.0.1:")).collect();
    if made {
        let replicas =
            args.iter().position(|word| word == "--cluster-replicas").and_then(|at| args.get(at + 1));
        let replicas = replicas.and_then(|count| count.to_str()?.parse().ok()).unwrap_or(0);
        for port in &ports {
            wait_for_replicas(port, replicas);
        }
        for port in ports {
            fs::write(mark(port), "").expect("the folder for marks can be written to");
        }
    }
    status.code().unwrap_or(1)
}

/// Waits until a node of a new cluster knows so many replicas of each primary.
fn wait_for_replicas(port: &str, replicas: usize) {
    // Each range of slots comes with its first and last, and its nodes.
    let range_is_complete =
        |range: &Reply| matches!(range, Reply::Array(words) if words.len() >= 3 + replicas);
    let is_complete = |reply: &Reply| match reply {
        Reply::Array(ranges) => !ranges.is_empty() && ranges.iter().all(range_is_complete),
        _ => false,
    };
    let mut node = Client::connect(format!("127.0.0.1:{port}"));
    while !is_complete(&node.cmd(&["CLUSTER", "SLOTS"])) {
        thread::sleep(CLUSTER_RETRY);
    }
}

/// The file that says that the cluster of the node with this port stands.
fn mark(port: &str) -> PathBuf {
    Path::new(&variable("UNBUSY_STORM_FOLDER")).join(port)
}

/// Makes the server busy now and then until it, our parent, is gone.
fn storm(args: &[OsString]) {
    let [port, seed, kind] = args else { panic!("--storm wants a port, a seed and a kind") };
    let (port, seed) = (port.to_string_lossy(), seed.to_string_lossy());
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no number"));
    let server = parent_id();
    let lives = || parent_id() == server;
    if kind == "cluster" {
        while lives() && !mark(&port).exists() {
            thread::sleep(RETRY);
        }
        let _ = fs::remove_file(mark(&port));
        thread::sleep(CLUSTER_PAUSE);
    }
    // The ports of a suite's servers differ, and so shall what they go through.
    testkit::storm(&format!("127.0.0.1:{port}"), number(&seed).rotate_left(32) ^ number(&port), lives);
}
