//! `--kill-after` on real servers: what it ends, what it spares, and the race between a kill and the end of its victim.
#[path = "e2e/mod.rs"]
mod e2e;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use testkit::{Client, Flavor, Proxy, Reply, ScriptedServer, Server, busy_lua, wait_until_busy};

use e2e::{ENDLESS, make_busy, on_every_server, ready, release, start_proxy, wait_until};

const AFTER: &[&str] = &["--kill-after", "250ms"];
const KILLED: &str = "killed a script that ran for too long";
/// Longer than any test.
const LONG: &str = "60000";

on_every_server!(
    what_runs_for_too_long,
    what_has_written,
    what_came_another_way,
    what_the_lists_spare,
    transactions_and_pipelines,
    without_permission,
    with_just_the_permission,
    the_next_script_of_the_proxy_is_never_met,
    nor_is_one_whose_budget_ends_meanwhile,
    the_next_script_of_others_may_be_met,
);

fn proxy(server: &Server, more: &[&str]) -> Proxy {
    start_proxy(server, &[AFTER, more].concat())
}

/// Sends a script, and waits until the server is busy with it.
fn run(server: &Server, proxy: &Proxy, words: &[&str]) -> Client {
    let mut client = ready(proxy.address());
    client.send_cmd(words);
    wait_until_busy(server.address());
    client
}

fn assert_killed(reply: &Reply) {
    assert!(reply.error().is_some_and(|error| error.contains("killed by user")), "{reply:?}");
}

fn kills(proxy: &Proxy) -> usize {
    proxy.log().lines().filter(|line| line.contains(KILLED)).count()
}

/// A line of the log that has all of these.
fn wait_log(proxy: &Proxy, parts: &[&str]) {
    let found = || proxy.log().lines().any(|line| parts.iter().all(|part| line.contains(part)));
    wait_until(&format!("{parts:?} in the log"), found);
}

fn load_function(server: &Server, name: &str) {
    let library = format!(
        "#!lua name={name}\nredis.register_function('{name}', function(KEYS, ARGV) {} end)",
        busy_lua()
    );
    assert_eq!(server.client().cmd(&["FUNCTION", "LOAD", &library]).text(), name);
}

fn what_runs_for_too_long(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = proxy(&server, &[]);
    let sha1 = server.client().cmd(&["SCRIPT", "LOAD", busy_lua()]).text();
    let mut caller = run(&server, &proxy, &["EVAL", busy_lua(), "0", LONG]);
    let mut other = Client::connect(proxy.address());
    other.send_cmd(&["INCR", "n"]);
    assert_killed(&caller.read_reply());
    assert_eq!(other.read_reply().integer(), 1);
    wait_log(&proxy, &[KILLED, &sha1, &caller.local_address()]);
    if flavor != Flavor::Redis62 {
        load_function(&server, "slow");
        let mut caller = run(&server, &proxy, &["FCALL", "slow", "0", LONG]);
        assert_killed(&caller.read_reply());
        wait_log(&proxy, &[KILLED, "slow", &caller.local_address()]);
    }
    // Its caller need not be there any more.
    drop(run(&server, &proxy, &["EVALSHA", &sha1, "0", LONG]));
    let before = kills(&proxy);
    wait_until("the end of what nobody waits for", || !server.client().cmd(&["PING"]).is_busy());
    wait_until("its kill in the log", || kills(&proxy) > before);
    // What ends by itself is left alone.
    let before = kills(&proxy);
    assert_eq!(other.cmd(&["EVAL", busy_lua(), "0", "150"]).integer(), 1);
    assert_eq!(kills(&proxy), before);
}

fn what_has_written(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = proxy(&server, &[]);
    let writes = format!("redis.call('SET', 'k', 'v') {}", busy_lua());
    let mut caller = run(&server, &proxy, &["EVAL", &writes, "0", "600"]);
    wait_log(&proxy, &["cannot be killed", "written"]);
    assert_eq!(caller.read_reply().integer(), 1);
    assert_eq!(proxy.log().matches("cannot be killed").count(), 1, "{}", proxy.log());
    assert_eq!(kills(&proxy), 0);
}

/// Not known here, so somebody else's business.
fn what_came_another_way(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = proxy(&server, &[]);
    let script = make_busy(&server, ENDLESS);
    let mut other = Client::connect(proxy.address());
    other.send_cmd(&["INCR", "n"]);
    wait_log(&proxy, &["not through this proxy"]);
    assert_eq!(other.try_read_frame(Duration::from_millis(700)), None, "it was killed");
    release(&server, script);
    assert_eq!(other.read_reply().integer(), 1);
    assert_eq!(kills(&proxy), 0);
}

fn what_the_lists_spare(flavor: Flavor) {
    let server = Server::start(flavor);
    let sha1 = server.client().cmd(&["SCRIPT", "LOAD", busy_lua()]).text();
    for (list, reason) in [
        (["--kill-never", &sha1.to_uppercase()], "kill-never names it"),
        (["--kill-only", "another"], "kill-only does not name it"),
    ] {
        let proxy = proxy(&server, &list);
        let mut caller = run(&server, &proxy, &["EVALSHA", &sha1, "0", "600"]);
        wait_log(&proxy, &["is not killed", reason, &sha1]);
        assert_eq!(caller.read_reply().integer(), 1);
    }
    let list = format!("another,{sha1}");
    let proxy = proxy(&server, &["--kill-only", &list]);
    assert_killed(&run(&server, &proxy, &["EVAL", busy_lua(), "0", LONG]).read_reply());
}

/// Of which one cannot know which script runs, and whose other half would stay.
fn transactions_and_pipelines(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = proxy(&server, &[]);
    let mut client = ready(proxy.address());
    let slow = testkit::encode(&["EVAL", busy_lua(), "0", "600"]);
    let fast = testkit::encode(&["EVAL", busy_lua(), "0", "1"]);
    let transaction = [testkit::encode(&["MULTI"]), slow.clone(), testkit::encode(&["EXEC"])].concat();
    for (sent, replies) in [([slow, fast].concat(), 2), (transaction, 3)] {
        let before = proxy.log().matches("is not killed").count();
        // Once the server has answered, they may go at once.
        client.cmd(&["PING"]);
        client.send(&sent);
        wait_until("its being spared", || proxy.log().matches("is not killed").count() > before);
        let replies: Vec<_> = (0..replies).map(|_| client.read_reply()).collect();
        assert!(replies.iter().all(|reply| reply.error().is_none()), "{replies:?}");
    }
    assert_eq!(kills(&proxy), 0);
}

fn without_permission(flavor: Flavor) {
    let server = Server::start(flavor);
    let rules = ["ACL", "SETUSER", "watcher", "on", ">pw", "~*", "+@all", "-script"];
    assert!(server.client().cmd(&rules).is_ok());
    let url = format!("redis://watcher:pw@{}", server.address());
    let proxy = Proxy::start(e2e::binary(), &url, AFTER);
    let mut caller = run(&server, &proxy, &["EVAL", busy_lua(), "0", "600"]);
    wait_log(&proxy, &["does not let it be killed", "NOPERM"]);
    assert_eq!(caller.read_reply().integer(), 1);
    assert_eq!(proxy.log().matches("does not let it be killed").count(), 1, "{}", proxy.log());
}

/// The rules of docs/operating.md.
fn with_just_the_permission(flavor: Flavor) {
    let server = Server::start(flavor);
    let kinds: &[&str] = match flavor {
        Flavor::Redis62 => &["+config", "+script"],
        _ => &["+config|get", "+script|kill", "+function|kill", "+function|stats"],
    };
    let rules =
        [&["ACL", "SETUSER", "unbusy", "on", ">pw", "resetkeys", "-@all", "+ping", "+info"], kinds].concat();
    assert!(server.client().cmd(&rules).is_ok());
    let url = format!("redis://unbusy:pw@{}", server.address());
    let proxy = Proxy::start(e2e::binary(), &url, AFTER);
    assert_killed(&run(&server, &proxy, &["EVAL", busy_lua(), "0", LONG]).read_reply());
    assert!(!proxy.log().contains("this login"), "{}", proxy.log());
}

/// A way to the server on which a kill takes so long, and everything else no time.
fn slow_for_kills(server: &Server, delay: Duration) -> ScriptedServer {
    let address = server.address().to_owned();
    ScriptedServer::start(move |_, mut client| {
        let mut upstream = TcpStream::connect(&address).expect("the server");
        let (mut from, mut to) =
            (upstream.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
        let back = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            if buffer[..count].windows(4).any(|word| word == b"KILL") {
                std::thread::sleep(delay);
            }
            if upstream.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = upstream.shutdown(Shutdown::Both);
        let _ = back.join();
    })
}

/// The victim ends while its kill is on its way, and another script waits for that.
fn the_next_script_of_the_proxy_is_never_met(flavor: Flavor) {
    let server = Server::start(flavor);
    let text = format!("local victim {}", busy_lua());
    let sha1 = server.client().cmd(&["SCRIPT", "LOAD", &text]).text();
    let way = slow_for_kills(&server, Duration::from_millis(400));
    let args = [AFTER, &["--kill-only", &sha1]].concat();
    let proxy = Proxy::start(e2e::binary(), &way.url(), &args);
    let mut victim = run(&server, &proxy, &["EVALSHA", &sha1, "0", "400"]);
    let mut next = Client::connect(proxy.address());
    next.send_cmd(&["EVAL", busy_lua(), "0", "600"]);
    assert_eq!(victim.read_reply().integer(), 1, "it ended by itself");
    assert_eq!(next.read_reply().integer(), 1, "the kill met it");
    wait_log(&proxy, &["ended before it could be killed"]);
    assert_eq!(kills(&proxy), 0);
}

/// Who has waited for too long is sent past the gate for its last try.
fn nor_is_one_whose_budget_ends_meanwhile(flavor: Flavor) {
    let server = Server::start(flavor);
    let text = format!("local victim {}", busy_lua());
    let sha1 = server.client().cmd(&["SCRIPT", "LOAD", &text]).text();
    let way = slow_for_kills(&server, Duration::from_millis(500));
    let args = [AFTER, &["--kill-only", &sha1, "--max-wait", "450ms"]].concat();
    let proxy = Proxy::start(e2e::binary(), &way.url(), &args);
    let mut victim = run(&server, &proxy, &["EVALSHA", &sha1, "0", "400"]);
    // The first asks whether the server is open, so the second is never sent before its budget ends.
    let mut first = Client::connect(proxy.address());
    first.send_cmd(&["BLPOP", "nothing", "30"]);
    wait_log(&proxy, &["commands are held"]);
    let mut next = Client::connect(proxy.address());
    next.send_cmd(&["EVAL", busy_lua(), "0", "700"]);
    assert_eq!(victim.read_reply().integer(), 1, "it ended by itself");
    assert_eq!(next.read_reply().integer(), 1, "the kill met it");
    assert_eq!(kills(&proxy), 0);
}

/// That cannot be prevented, but it is told.
fn the_next_script_of_others_may_be_met(flavor: Flavor) {
    let server = Server::start(flavor);
    let way = slow_for_kills(&server, Duration::from_millis(500));
    let proxy = Proxy::start(e2e::binary(), &way.url(), AFTER);
    let mut victim = run(&server, &proxy, &["EVAL", busy_lua(), "0", "400"]);
    assert_eq!(victim.read_reply().integer(), 1, "it ended by itself");
    let mut stranger = server.client();
    assert_killed(&stranger.cmd(&["EVAL", busy_lua(), "0", LONG]));
    wait_log(&proxy, &[KILLED, "unless it ended by itself just before"]);
}
