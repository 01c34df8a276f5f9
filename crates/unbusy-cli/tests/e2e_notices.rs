//! What is logged of an episode: one line when it begins and one when it ends, with true numbers.
mod e2e_support;

use std::time::{Duration, Instant};

use e2e_support::{PATIENCE, proxy, wait_until};
use testkit::{BusyScript, Client, Flavor, Proxy, Server, encode};

const ENDED: &str = "the server accepts commands again";

#[test]
fn an_episode_is_told_once_with_all_that_waited() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy(&server, &[]);
        let script = BusyScript::start(server.address(), Duration::from_millis(800));
        script.wait_until_busy(server.address());
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(proxy.address())).collect();
        for client in &mut clients {
            client.send(&encode(&["INCR", "n"]).repeat(10));
        }
        for client in &mut clients {
            let replies: Vec<_> = (0..10).map(|_| client.read_reply()).collect();
            assert!(replies.iter().all(|reply| reply.error().is_none()), "{replies:?}");
        }
        script.join();
        let line = proxy.wait_log(ENDED, PATIENCE);
        assert_fields(
            &line,
            &[("cause", "\"script\""), ("connections", "3"), ("commands", "30"), ("given_up", "0")],
        );
        assert_eq!(proxy.log().matches("commands are held").count(), 1, "{}", proxy.log());
        assert_eq!(proxy.log().matches(ENDED).count(), 1, "{}", proxy.log());
    }
}

/// A client that comes much later is not one that waited, nor is the time until then the episode's.
#[test]
fn an_episode_whose_waiters_all_gave_up_or_left_is_told_of_its_own_time() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy(&server, &["--max-wait", "300ms"]);
        wait_for_threshold(&proxy);
        let script = BusyScript::start(server.address(), Duration::from_millis(1500));
        script.wait_until_busy(server.address());
        let began = Instant::now();
        let mut leaver = Client::connect(proxy.address());
        leaver.send_cmd(&["SET", "left", "1"]);
        proxy.wait_log("commands are held", PATIENCE);
        drop(leaver);
        assert!(Client::connect(proxy.address()).cmd(&["INCR", "n"]).is_busy());
        script.join();
        let line = proxy.wait_log(ENDED, PATIENCE);
        let told = began.elapsed();
        assert!(told < Duration::from_secs(4), "{flavor}: told only after {told:?}");
        assert_fields(&line, &[("connections", "2"), ("commands", "2"), ("given_up", "1")]);
        assert_eq!(server.client().cmd(&["DBSIZE"]), testkit::Reply::Integer(0), "{flavor}");
    }
}

/// Workers wait for jobs with BLPOP, which is silent when it is accepted; but so is the server at times, while a script waits
/// for a slow command of its own.
#[test]
fn a_silent_script_does_not_end_the_episode_when_all_who_wait_block() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy(&server, &[]);
        wait_for_threshold(&proxy);
        let script = BusyScript::start_silent(server.address());
        script.wait_until_busy(server.address());
        let mut workers: Vec<_> = (0..5).map(|_| Client::connect(proxy.address())).collect();
        for worker in &mut workers {
            worker.send_cmd(&["BLPOP", "jobs", "0"]);
        }
        script.join();
        proxy.wait_log(ENDED, PATIENCE);
        let mut direct = server.client();
        for _ in &workers {
            direct.cmd(&["RPUSH", "jobs", "job"]);
        }
        for worker in &mut workers {
            assert_eq!(worker.read_reply().error(), None, "{flavor}");
        }
        assert_eq!(proxy.log().matches("commands are held").count(), 1, "{flavor}: {}", proxy.log());
    }
}

#[test]
fn an_episode_in_which_the_proxy_ends_is_told_as_such() {
    let server = Server::start(Flavor::Redis70);
    let mut proxy = proxy(&server, &["--drain", "100ms"]);
    let script = BusyScript::start(server.address(), Duration::from_millis(1500));
    script.wait_until_busy(server.address());
    let mut client = Client::connect(proxy.address());
    client.send_cmd(&["INCR", "n"]);
    proxy.wait_log("commands are held", PATIENCE);
    proxy.terminate();
    proxy.wait_exit(PATIENCE);
    let line = proxy.wait_log("ending while the server is busy", PATIENCE);
    assert_fields(&line, &[("connections", "1"), ("commands", "1")]);
    script.join();
}

/// Those fields are what docs/monitoring.md promises to programs.
#[test]
fn for_programs_an_episode_is_two_objects_with_the_fields_that_are_documented() {
    let server = Server::start(Flavor::Valkey91);
    let proxy = proxy(&server, &["--log-format", "json"]);
    let mut runner = Client::connect(proxy.address());
    let start = Instant::now();
    runner.send_cmd(&["EVAL", testkit::busy_lua(), "0", "500"]);
    testkit::wait_until_busy(server.address());
    assert_eq!(Client::connect(proxy.address()).cmd(&["INCR", "n"]).integer(), 1);
    proxy.wait_log(ENDED, PATIENCE);
    let lines: Vec<serde_json::Value> =
        proxy.log().lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    let about = |text: &str| {
        let found: Vec<_> = lines.iter().filter(|line| line["message"].to_string().contains(text)).collect();
        assert_eq!(found.len(), 1, "{text}: {lines:?}");
        let fields = found[0].as_object().expect("an object").keys();
        let fields: Vec<_> = fields.map(String::as_str).collect();
        (found[0], fields)
    };
    let (began, fields) = about("commands are held");
    let usual = ["level", "message", "target", "timestamp"];
    assert_eq!(fields, sorted(&usual, &["cause", "client", "keys", "running_ms", "script"]));
    assert_eq!(began["keys"], 0);
    assert_eq!(began["client"], runner.local_address());
    let running = Duration::from_millis(began["running_ms"].as_u64().expect("a number"));
    assert!(running >= Duration::from_millis(100) && running < start.elapsed(), "{began}");
    let (ended, fields) = about(ENDED);
    let numbers = ["commands", "connections", "given_up", "lasted_ms", "rejected"];
    assert_eq!(fields, sorted(&usual, &[&numbers[..], &["cause"]].concat()));
    assert!(numbers.iter().all(|name| ended[*name].is_u64()), "{ended}");
}

fn sorted<'a>(some: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let mut all = [some, more].concat();
    all.sort_unstable();
    all
}

/// Until the threshold is known, the proxy's own question may come while the server is busy, and be rejected as well.
fn wait_for_threshold(proxy: &Proxy) {
    wait_until("the proxy has asked", || {
        Client::connect(proxy.address()).cmd(&["INFO", "commandstats"]).text().contains("cmdstat_config")
    });
}

fn assert_fields(line: &str, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        let field = format!("{name}={value}");
        assert!(line.split_whitespace().any(|word| word == field), "no `{field}` in: {line}");
    }
}
