//! `unbusy doctor` on real servers: what is wrong is found, what is right is left in peace, and nothing is changed.
mod common;
#[path = "e2e/mod.rs"]
mod e2e;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Client, Flavor, OwnedChild, Server, busy_lua};

use common::{outcome, unbusy};
use e2e::{ENDLESS, make_busy, on_every_server, release, wait_until};

on_every_server!(
    a_server_in_order,
    after_a_busy_time,
    settings_that_do_harm,
    a_busy_server,
    what_may_not_be_read,
    nothing_is_changed,
);

/// The exit code and what was printed; nothing on standard error.
fn doctor(args: &[&str]) -> (i32, String) {
    let (code, output, errors) = outcome(unbusy(&["doctor"]).args(args));
    assert_eq!(errors, "");
    (code.expect("an exit code"), output)
}

/// The line of a finding, and the lines of its reason and cure.
fn finding(text: &str, start: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(start));
    let first = lines.next().unwrap_or_else(|| panic!("no {start:?} in {text}"));
    let more = lines.take_while(|line| line.starts_with(' '));
    std::iter::once(first).chain(more).collect::<Vec<_>>().join("\n")
}

fn a_server_in_order(flavor: Flavor) {
    let server = Server::start(flavor);
    let (code, text) = doctor(&[&server.url()]);
    assert_eq!(code, 0, "{text}");
    let name = if flavor == Flavor::Valkey91 { "Valkey 9.1." } else { "Redis " };
    assert!(text.starts_with(&format!("{}: {name}", server.url())), "{text}");
    finding(&text, &format!("ok       threshold: {} is 100ms", flavor.threshold_option()));
    finding(&text, "ok       slow log: no scripts");
    finding(&text, "ok       rejections: ");
    assert!(text.contains("\n0 problems, "), "{text}");
    assert!(!text.contains("warning  "), "{text}");
    assert!(!text.contains("not read"), "{text}");
}

fn after_a_busy_time(flavor: Flavor) {
    let server = Server::start(flavor);
    let mut client = server.client();
    let sha = client.cmd(&["SCRIPT", "LOAD", busy_lua()]).text();
    client.send_cmd(&["EVALSHA", &sha, "0", "300", "an-argument"]);
    let mut others = server.client();
    wait_until("somebody is rejected", || others.cmd(&["INCR", "n"]).is_busy());
    client.read_frame();
    let (code, text) = doctor(&[&server.url()]);
    assert_eq!(code, 0, "a warning is no problem: {text}");
    let slow = finding(&text, "warning  slow log: 1 of 1 script took longer than the threshold of 100ms: ");
    assert!(slow.contains(&format!("EVALSHA {sha} took ")), "{slow}");
    assert!(!text.contains("an-argument"), "{text}");
    let rejected = finding(&text, "warning  rejections: ");
    assert!(rejected.contains("with BUSY since") && rejected.contains("incr "), "{rejected}");
    assert!(rejected.contains(&format!("do:  unbusy proxy --upstream {}", server.url())), "{rejected}");
    let (_, text) = doctor(&[&server.url(), "--show-arguments"]);
    assert!(text.contains("an-argument"), "{text}");
}

fn settings_that_do_harm(flavor: Flavor) {
    let builder = Server::builder(flavor).threshold(Duration::ZERO);
    let args = ["--slowlog-log-slower-than", "-1", "--timeout", "60", "--tcp-keepalive", "0"];
    let server = args.into_iter().fold(builder, testkit::ServerBuilder::arg).start();
    let (code, text) = doctor(&[&server.url()]);
    assert_eq!(code, 1, "{text}");
    let name = flavor.threshold_option();
    let threshold = finding(&text, &format!("problem  threshold: {name} is 0"));
    let cure = format!("redis-cli -u {} CONFIG SET {name} 5000", server.url());
    assert!(threshold.ends_with(&cure), "{threshold}");
    finding(&text, "warning  slow log: off");
    finding(&text, "note     timeout: ");
    finding(&text, "note     tcp-keepalive: off");
    // Its cures cure.
    let mut client = server.client();
    for line in text.lines().filter(|line| line.contains(" CONFIG SET ") && !line.contains("lasts")) {
        let words: Vec<_> = line.split_whitespace().skip_while(|word| *word != "CONFIG").collect();
        assert!(client.cmd(&words).is_ok(), "{line}");
    }
    let (code, text) = doctor(&[&server.url()]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(" CONFIG SET "), "{text}");
}

fn a_busy_server(flavor: Flavor) {
    let server = Server::start(flavor);
    let script = make_busy(&server, ENDLESS);
    let (code, text) = doctor(&[&server.url()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("busy: ") && text.contains("examined when it is open"), "{text}");
    let (code, text) = doctor(&[&server.url(), "--json"]);
    assert_eq!((code, text.contains("\"state\":\"busy\"")), (1, true), "{text}");
    release(&server, script);
}

fn what_may_not_be_read(flavor: Flavor) {
    let server = Server::start(flavor);
    let user = ["ACL", "SETUSER", "nobody", "on", ">geheim", "-@all", "+ping"];
    assert!(server.client().cmd(&user).is_ok());
    let (code, text) = doctor(&[&format!("redis://nobody:geheim@{}", server.address())]);
    assert_eq!(code, 0, "{text}");
    for question in [
        "INFO server",
        "CONFIG GET busy-reply-threshold",
        "SLOWLOG GET 1000",
        "LATENCY LATEST",
        "CLIENT LIST",
    ] {
        let refused = finding(&text, &format!("note     not read: {question}: NOPERM"));
        assert!(refused.contains("+config|get"), "{refused}");
    }
    finding(&text, "note     threshold: busy-reply-threshold may not be read; 5s is assumed here");
    assert!(!text.contains("\nok "), "what was not read is not in order: {text}");
    let told = doctor(&[&format!("redis://nobody:geheim@{}", server.address()), "--busy-threshold=100ms"]).1;
    finding(&told, "ok       threshold: busy-reply-threshold is 100ms");
}

fn nothing_is_changed(flavor: Flavor) {
    let server = Server::start(flavor);
    let mut client = server.client();
    let state = |client: &mut Client| {
        let settings = client.cmd(&["CONFIG", "GET", "*"]);
        (
            settings,
            client.cmd(&["SLOWLOG", "LEN"]),
            client.cmd(&["INFO", "keyspace"]),
            client.cmd(&["INFO", "errorstats"]),
        )
    };
    let before = state(&mut client);
    let (code, text) = doctor(&[&server.url(), "--json"]);
    assert_eq!(code, 0, "{text}");
    let fields = ["\"state\":\"open\"", "\"threshold_ms\":100.0", "\"problem\":false", "\"severity\":\"ok\""];
    assert!(fields.iter().all(|field| text.contains(field)), "{text}");
    assert_eq!(state(&mut client), before);
}

#[test]
fn a_cluster_node_that_is_taken_for_dead_too_soon() {
    let builder = Server::builder(Flavor::Redis70).threshold(Duration::from_secs(2));
    let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
    let server = args.into_iter().fold(builder, testkit::ServerBuilder::arg).start();
    let (code, text) = doctor(&[&server.url()]);
    assert_eq!(code, 1, "{text}");
    let found = finding(
        &text,
        "problem  cluster: cluster-node-timeout is 1.50s, not longer than the threshold of 2s",
    );
    assert!(found.ends_with("CONFIG SET cluster-node-timeout 15000"), "{found}");
}

#[test]
fn a_sentinel_that_does_not_wait_for_busy() {
    let master = Server::start(Flavor::Redis70);
    let free =
        TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sentinel.conf");
    let settings = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor shop 127.0.0.1 {} 1\nsentinel down-after-milliseconds shop 4000\n",
        free.port(),
        folder.path().display(),
        master.port()
    );
    std::fs::write(&file, settings).expect("a file");
    let mut command = Command::new(Flavor::Redis70.binary().expect("a server"));
    command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
    let _sentinel = OwnedChild::spawn(&mut command);
    let url = format!("redis://{free}");
    wait_until("the Sentinel answers", || outcome(&mut unbusy(&["status", &url])).0 == Some(0));

    let (code, text) = doctor(&[&url]);
    assert_eq!(code, 1, "{text}");
    let found = finding(&text, "problem  Sentinel: shop (127.0.0.1:");
    assert!(
        found.contains("is down after 4s, quorum 1, not longer than the threshold, taken to be 5s"),
        "{found}"
    );
    let cure = format!("redis-cli -u {url} SENTINEL SET shop down-after-milliseconds 30000");
    assert!(found.ends_with(&cure), "{found}");
    let words: Vec<_> = cure.split(' ').skip(3).collect();
    assert!(Client::connect(free.to_string()).cmd(&words).is_ok());
    let (code, text) = doctor(&[&url]);
    assert_eq!(code, 0, "{text}");
    // The master knows who watches it.
    wait_until("the Sentinel has named its connection", || {
        doctor(&[&master.url()]).1.contains("note     Sentinel: 1 watches this server")
    });
}
