//! Clients that listen: what a running script does reaches those who are blocked, subscribed or monitoring when the
//! server gives it to them, no sooner and no later, and what they send meanwhile is held without disturbing it.
#[path = "e2e/mod.rs"]
mod e2e;

use std::time::Duration;

use testkit::{Client, Flavor, Proxy, Reply, Server, busy_lua, wait_until_busy};

use e2e::{SOON, Wire, command, on_every_server, pipeline, ready, show, start_proxy, wait_until, words};

/// Long enough to look several times while the server is busy.
const SCRIPT: Duration = Duration::from_millis(600);
/// A monitor sees each of the script's looks at the clock, so there are to be few.
const LOOPS: &str = "do for _ = 1, 100000 do end end";

on_every_server!(
    a_popper_waits_for_the_end_of_the_script,
    a_reader_of_a_stream_waits_for_the_end_of_the_script,
    subscribers_hear_the_script_while_they_are_held,
    subscribers_hear_the_script_while_they_are_held_in_resp3,
    subscribers_of_shards_hear_the_script_while_they_are_held,
    subscribers_of_shards_hear_the_script_while_they_are_held_in_resp3,
    a_monitor_sees_the_script_and_has_its_own_reply_once,
    monitoring_begins_when_the_script_has_ended,
);

/// Sends a script, past the proxy, that does one thing, spins, and does another; the server is busy when this returns.
fn start_script(server: &Server, early: &str, late: &str) -> Client {
    let spin = busy_lua().replace("do end", LOOPS);
    // Redis 6.2 wants to be told before the first write.
    let lua = format!(
        "if redis.replicate_commands then redis.replicate_commands() end \
         local function spin() {spin} end {early} spin() {late}"
    );
    let mut client = server.client();
    client.send_cmd(&["EVAL", &lua, "0", &SCRIPT.as_millis().to_string()]);
    wait_until_busy(server.address());
    client
}

fn is_busy(server: &Server) -> bool {
    server.client().cmd(&["PING"]).is_busy()
}

/// Waits for the end of the script; up to then all that comes must please.
fn assert_while_busy(server: &Server, wire: &mut Wire, expected: &str, pleases: impl Fn(&[u8]) -> bool) {
    let mut control = server.client();
    wait_until("the end of the script", || {
        // In this order: what has come before the server says that it is busy came in the middle of the script.
        wire.read_ready();
        let busy = control.cmd(&["PING"]).is_busy();
        assert!(!busy || pleases(&wire.seen), "expected {expected} while busy: {}", show(&wire.seen));
        !busy
    });
}

fn assert_comes(wire: &mut Wire, expected: &[u8]) {
    let came = wire.wait_for(SOON, |seen| seen.len() >= expected.len());
    assert!(came && wire.seen == expected, "{} instead of {}", show(&wire.seen), show(expected));
    wire.take();
}

fn contains(seen: &[u8], part: &str) -> bool {
    seen.windows(part.len()).any(|window| window == part.as_bytes())
}

fn a_popper_waits_for_the_end_of_the_script(flavor: Flavor) {
    let push = "redis.call('RPUSH', 'q', 'x')";
    let length = "return redis.call('LLEN', 'q')";
    blocked(flavor, "BLPOP q 0", push, length, b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n");
}

fn a_reader_of_a_stream_waits_for_the_end_of_the_script(flavor: Flavor) {
    let add = "redis.call('XADD', 's', '1-1', 'f', 'v')";
    let length = "return redis.call('XLEN', 's')";
    let entry = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    blocked(flavor, "XREAD BLOCK 0 STREAMS s $", add, length, entry);
}

/// Blocked before the script begins, which then brings what is waited for. Redis 6.2 would give it away in the middle
/// of the script if anybody sent a command that is allowed while busy.
fn blocked(flavor: Flavor, blocking: &str, early: &str, length: &str, element: &[u8]) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let mut held = ready(proxy.address());
    let mut wire = Wire::connect(proxy.address());
    wire.send(&pipeline(&[blocking, "INCR n"]));
    let mut control = server.client();
    wait_until("the server has a blocked client", || {
        control.cmd(&["INFO", "clients"]).text().contains("blocked_clients:1")
    });
    let mut script = start_script(&server, early, length);
    // One whose command is tried again and again.
    held.send_cmd(&["GET", "held"]);
    assert_while_busy(&server, &mut wire, "nothing", <[u8]>::is_empty);
    assert_comes(&mut wire, &[element, b":1\r\n"].concat());
    assert_eq!(script.read_reply().integer(), 1, "the script still had its element at its end");
    assert_eq!(held.read_reply(), Reply::Null);
    assert_eq!(control.cmd(&["GET", "n"]).text(), "1");
}

fn subscribers_hear_the_script_while_they_are_held(flavor: Flavor) {
    subscribed(flavor, "", 2);
}

fn subscribers_hear_the_script_while_they_are_held_in_resp3(flavor: Flavor) {
    subscribed(flavor, "", 3);
}

fn subscribers_of_shards_hear_the_script_while_they_are_held(flavor: Flavor) {
    if flavor != Flavor::Redis62 {
        subscribed(flavor, "s", 2);
    }
}

fn subscribers_of_shards_hear_the_script_while_they_are_held_in_resp3(flavor: Flavor) {
    if flavor != Flavor::Redis62 {
        subscribed(flavor, "s", 3);
    }
}

/// `kind` stands in front of the names of commands and messages.
fn subscribed(flavor: Flavor, kind: &str, protocol: u8) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let mut wire = greeted(&proxy, protocol);
    let frame = |what: &str, name: &str, end: &str| {
        let mark = if protocol == 3 { '>' } else { '*' };
        let what = format!("{kind}{what}");
        format!("{mark}3\r\n${}\r\n{what}\r\n$1\r\n{name}\r\n{end}\r\n", what.len()).into_bytes()
    };
    wire.send(&command(&format!("{kind}subscribe a")));
    assert_comes(&mut wire, &frame("subscribe", "a", ":1"));
    let publish = |message: u8| format!("redis.call('{kind}publish', 'a', '{message}')");
    let mut script = start_script(&server, &publish(1), &format!("return {}", publish(2)));
    wire.send(&command(&format!("{kind}subscribe b")));
    assert_comes(&mut wire, &frame("message", "a", "$1\r\n1"));
    assert!(is_busy(&server), "the first message comes in the middle of the script");
    assert_while_busy(&server, &mut wire, "nothing more", <[u8]>::is_empty);
    // Subscribed when the script has ended, so behind its last message.
    assert_comes(&mut wire, &[frame("message", "a", "$1\r\n2"), frame("subscribe", "b", ":2")].concat());
    assert_eq!(script.read_reply().integer(), 1, "the second message had one receiver");
    server.client().cmd(&words(&format!("{kind}publish b 3")));
    assert_comes(&mut wire, &frame("message", "b", "$1\r\n3"));
}

/// A connection that speaks this protocol.
fn greeted(proxy: &Proxy, protocol: u8) -> Wire {
    let mut wire = Wire::connect(proxy.address());
    wire.send(&pipeline(&[&format!("HELLO {protocol}"), "PING"]));
    assert!(wire.wait_for(SOON, |seen| seen.ends_with(b"+PONG\r\n")), "{}", show(&wire.seen));
    wire.take();
    wire
}

/// The lines of a monitor look like the reply to PING.
fn a_monitor_sees_the_script_and_has_its_own_reply_once(flavor: Flavor) {
    const PONG: &str = "\r\n+PONG\r\n";
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    for protocol in [2, 3] {
        let mut wire = greeted(&proxy, protocol);
        wire.send(&command("MONITOR"));
        assert!(wire.wait_for(SOON, |seen| seen.starts_with(b"+OK\r\n")), "{}", show(&wire.seen));
        let mut script =
            start_script(&server, "redis.call('GET', 'early')", "return redis.call('GET', 'late')");
        wire.send(&command("PING"));
        let line = |key: &str| format!(" lua] \"GET\" \"{key}\"\r\n");
        assert!(wire.wait_for(SOON, |seen| contains(seen, &line("early"))), "{}", show(&wire.seen));
        assert!(is_busy(&server), "the script's lines come while it runs");
        assert_while_busy(&server, &mut wire, "no reply", |seen| !contains(seen, PONG));
        assert_eq!(script.read_reply(), Reply::Null);
        wire.send(&command("ECHO done"));
        assert!(wire.wait_for(SOON, |seen| contains(seen, "$4\r\ndone\r\n")), "{}", show(&wire.seen));
        let seen = String::from_utf8_lossy(&wire.seen);
        assert!(seen.contains(&line("late")), "{seen}");
        assert_eq!(seen.matches(PONG).count(), 1, "{seen}");
        assert!(!seen.contains("-BUSY"), "{seen}");
    }
}

fn monitoring_begins_when_the_script_has_ended(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    for protocol in [2, 3] {
        let mut wire = greeted(&proxy, protocol);
        let mut script = start_script(&server, "", "return redis.call('GET', 'late')");
        wire.send(&command("MONITOR"));
        assert_while_busy(&server, &mut wire, "nothing", <[u8]>::is_empty);
        assert_eq!(script.read_reply(), Reply::Null);
        assert!(wire.wait_for(SOON, |seen| seen.starts_with(b"+OK\r\n")), "{}", show(&wire.seen));
        assert_eq!(server.client().cmd(&["GET", "seen"]), Reply::Null);
        assert!(wire.wait_for(SOON, |seen| contains(seen, "] \"GET\" \"seen\"\r\n")), "{}", show(&wire.seen));
        assert!(!contains(&wire.seen, "late"), "{}", show(&wire.seen));
    }
}
