//! `unbusy kill` on real servers, and its race on made-up ones.
mod common;
#[path = "e2e/mod.rs"]
mod e2e;

use std::net::TcpStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::{BusyScript, Client, Flavor, Reply, ScriptedServer, Server, busy_lua, encode, wait_until_busy};

use common::{Running, outcome, unbusy};
use e2e::{ENDLESS, SOON, make_busy, on_every_server, release, show};

const BUSY_SCRIPT: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const BUSY_FUNCTION: &str =
    "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.\r\n";

on_every_server!(
    a_script,
    a_function,
    in_the_silence_before_busy,
    nothing,
    what_has_written,
    what_is_young_is_spared,
    the_next_one_that_runs_too_long,
    without_permission,
    another_one_that_began_meanwhile,
);

/// The exit code and what was printed; nothing on standard error.
fn kill(args: &[&str]) -> (i32, String) {
    let (code, output, errors) = outcome(unbusy(&["kill"]).args(args));
    assert_eq!(errors, "");
    (code.expect("an exit code"), output)
}

fn assert_killed(script: BusyScript) {
    let (reply, _) = script.join();
    assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
}

fn a_script(flavor: Flavor) {
    let server = Server::start(flavor);
    let script = make_busy(&server, ENDLESS);
    let (code, text) = kill(&[&server.url()]);
    assert_eq!(code, 0, "{text}");
    assert_killed(script);
    assert!(
        text.starts_with(&format!(
            "killed: a script on {}, which had run for at least 100ms\n",
            server.url()
        )),
        "{text}"
    );
    assert!(
        text.contains("the threshold of 100ms") && text.ends_with("the server is open again\n"),
        "{text}"
    );
    let script = make_busy(&server, ENDLESS);
    let (code, text) = kill(&[&format!("unix:{}", server.unix_path().display()), "--json"]);
    assert_eq!(code, 0, "{text}");
    assert_killed(script);
    let fields =
        ["\"outcome\":\"killed\"", "\"kind\":\"script\"", "\"threshold_ms\":100.0", "\"state\":\"open\""];
    assert!(fields.iter().all(|field| text.contains(field)), "{text}");
}

fn slow_function(server: &Server, name: &str) -> Client {
    let mut caller = server.client();
    let library = format!(
        "#!lua name={name}\nredis.register_function('{name}', function(KEYS, ARGV) {} end)",
        busy_lua()
    );
    assert_eq!(caller.cmd(&["FUNCTION", "LOAD", &library]).text(), name);
    caller.send_cmd(&["FCALL", name, "0", "60000"]);
    wait_until_busy(server.address());
    caller
}

fn a_function(flavor: Flavor) {
    if flavor == Flavor::Redis62 {
        return;
    }
    let server = Server::start(flavor);
    let mut caller = slow_function(&server, "report");
    let (code, text) = kill(&[&server.url(), "--if-running-longer-than=1h"]);
    assert_eq!(code, 5, "{text}");
    assert!(
        text.starts_with("too young: the function \"report\" on ") && text.contains(", not for 3600s\n"),
        "{text}"
    );
    assert!(server.client().cmd(&["PING"]).is_busy());
    let (code, text) = kill(&[&server.url(), "--if-running-longer-than=50ms", "--json"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\"function\":\"report\"") && text.contains("\"kind\":\"function\""), "{text}");
    assert!(caller.read_reply().error().is_some_and(|error| error.contains("killed by user")));
}

/// It waits for the server's answer, which comes with the threshold.
fn in_the_silence_before_busy(flavor: Flavor) {
    let server = Server::builder(flavor).threshold(Duration::from_millis(700)).start();
    let mut control = server.client();
    let script = BusyScript::start(server.address(), ENDLESS);
    control.send_cmd(&["PING"]);
    if control.try_read_frame(Duration::from_millis(50)).is_some() {
        // The script came after the question.
        control.send_cmd(&["PING"]);
        assert!(control.try_read_frame(Duration::from_millis(50)).is_none(), "silence");
    }
    let (code, text) = kill(&[&server.url()]);
    assert_eq!(code, 0, "{text}");
    assert_killed(script);
    assert!(text.contains("the threshold of 700ms"), "{text}");
}

fn nothing(flavor: Flavor) {
    let server = Server::start(flavor);
    let (code, text) = kill(&[&server.url()]);
    assert_eq!((code, text.as_str()), (1, format!("nothing to kill: {} is open\n", server.url()).as_str()));
    let begin = Instant::now();
    let (code, _, told) = outcome(&mut unbusy(&["kill", "--wait=200ms", &server.url()]));
    assert_eq!((code, told.as_str()), (Some(1), "waiting: the server is open\n"));
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

fn what_has_written(flavor: Flavor) {
    let server = Server::start(flavor);
    let lua = format!("redis.call('SET', 'written', 1) {}", busy_lua());
    let lua = format!("if redis.replicate_commands then redis.replicate_commands() end {lua}");
    let mut script = server.client();
    script.send_cmd(&["EVAL", &lua, "0", "60000"]);
    wait_until_busy(server.address());
    let (code, text) = kill(&[&server.url()]);
    assert_eq!(code, 7, "{text}");
    assert!(text.contains("it has written already") && text.contains("SHUTDOWN NOSAVE"), "{text}");
    assert!(server.client().cmd(&["PING"]).is_busy(), "neither script nor server has ended");
}

fn what_is_young_is_spared(flavor: Flavor) {
    let server = Server::start(flavor);
    let script = make_busy(&server, ENDLESS);
    let (code, text) = kill(&[&server.url(), "--if-running-longer-than=200ms", "--busy-threshold=100ms"]);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("has run for at least 100ms, not certainly for 200ms"), "{text}");
    let (code, text) = kill(&[&server.url(), "--if-running-longer-than=200ms", "--json"]);
    assert_eq!((code, text.contains("\"outcome\":\"too young\"")), (5, true), "{text}");
    assert!(server.client().cmd(&["PING"]).is_busy(), "it still runs");
    release(&server, script);
}

fn the_next_one_that_runs_too_long(flavor: Flavor) {
    let server = Server::start(flavor);
    let mut command = unbusy(&["kill", "--wait", "--if-running-longer-than=600ms", &server.url()]);
    let mut watchdog = Running::with_log(command.stdout(Stdio::null()));
    watchdog.line_with("the server is open");
    let short = make_busy(&server, Duration::from_millis(250));
    assert_eq!(short.join().0, b":1\r\n", "it is not killed");
    let begin = Instant::now();
    let endless = BusyScript::start(server.address(), ENDLESS);
    watchdog.line_with("until a script has run for 600ms");
    assert_killed(endless);
    let ran = begin.elapsed();
    assert!(ran >= Duration::from_millis(600), "killed after {ran:?}");
    assert!(ran < SOON, "killed after {ran:?}");
    assert_eq!(watchdog.exit().code(), Some(0));
}

fn without_permission(flavor: Flavor) {
    let server = Server::start(flavor);
    let user = ["ACL", "SETUSER", "limited", "on", ">geheim", "~*", "+@all", "-script"];
    assert!(server.client().cmd(&user).is_ok());
    let script = make_busy(&server, ENDLESS);
    let (code, text) = kill(&[&format!("redis://limited:geheim@{}", server.address())]);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("NOPERM") && !text.contains("geheim"), "{text}");
    let (code, text) = kill(&[&format!("redis://limited:falsch@{}", server.address())]);
    assert_eq!((code, text.contains("WRONGPASS")), (6, true), "{text}");
    release(&server, script);
}

/// The script that was looked at ends, another begins, and only then does the kill arrive: it cannot be helped, but it is told.
fn another_one_that_began_meanwhile(flavor: Flavor) {
    let server = Server::start(flavor);
    let first = make_busy(&server, ENDLESS);
    let first = Mutex::new(Some(first));
    let second: Arc<Mutex<Option<BusyScript>>> = Arc::default();
    let (to, begun) = (server.address().to_owned(), Arc::clone(&second));
    let slow_way = ScriptedServer::start(move |_, stream| {
        let mut peer = Client::from(stream);
        let mut server = Client::connect(&to);
        while let Some(command) = peer.try_read_frame(SOON) {
            if command == encode(&["SCRIPT", "KILL"]) {
                assert!(Client::connect(&to).cmd(&["SCRIPT", "KILL"]).is_ok());
                assert_killed(first.lock().expect("a lock").take().expect("one kill only"));
                *begun.lock().expect("a lock") = Some(BusyScript::start(&to, ENDLESS));
                wait_until_silent(&to);
            }
            server.send(&command);
            let reply = server.read_frame();
            peer.send(&reply);
            if reply.starts_with(b"*2") {
                // The threshold: the last that it asks for.
                return;
            }
        }
    });
    let (code, text) = kill(&[&slow_way.url(), "--json"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\"same\":false"), "{text}");
    assert_killed(second.lock().expect("a lock").take().expect("it has begun"));
    slow_way.join();
}

/// Returns when a script has begun that has not yet reached the threshold.
fn wait_until_silent(address: &str) {
    let mut client = Client::connect(address);
    loop {
        client.send_cmd(&["PING"]);
        if client.try_read_frame(Duration::from_millis(20)).is_none() {
            return;
        }
    }
}

/// A server that answers these lines, one after the other; and the commands that it got.
fn answering(replies: &'static [&'static str]) -> (ScriptedServer, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&heard);
    let server = ScriptedServer::start(move |_, stream: TcpStream| {
        let mut peer = Client::from(stream);
        for reply in replies {
            let Some(command) = peer.try_read_frame(SOON) else { return };
            let words = Reply::parse(&command);
            log.lock()
                .expect("a lock")
                .push(words.items().iter().map(Reply::text).collect::<Vec<_>>().join(" "));
            peer.send(reply.as_bytes());
        }
        peer.read_to_end(SOON);
    });
    (server, heard)
}

fn heard(log: &Mutex<Vec<String>>) -> Vec<String> {
    log.lock().expect("a lock").clone()
}

#[test]
fn one_that_ends_before_the_kill_arrives() {
    let (server, log) = answering(&[BUSY_SCRIPT, "-NOTBUSY No scripts in execution right now.\r\n"]);
    let (code, text) = kill(&[&server.url()]);
    assert_eq!((code, text.contains("ended by itself")), (1, true), "{text}");
    assert_eq!(heard(&log), ["PING", "SCRIPT KILL"]);
}

/// A function in the place of the script is looked at before it is killed.
#[test]
fn one_of_another_kind_is_looked_at_anew() {
    let (server, log) = answering(&[BUSY_SCRIPT, BUSY_FUNCTION]);
    let (code, text) = kill(&[&server.url()]);
    assert_eq!(code, 1, "{text}");
    assert_eq!(heard(&log), ["PING", "SCRIPT KILL"]);
    let stats = "*2\r\n$14\r\nrunning_script\r\n*6\r\n$4\r\nname\r\n$1\r\nf\r\n$7\r\ncommand\r\n*0\r\n$11\r\nduration_ms\r\n:150\r\n";
    let replies =
        vec![BUSY_SCRIPT, BUSY_FUNCTION, BUSY_FUNCTION, stats, "+OK\r\n", "+PONG\r\n", "*0\r\n", "*0\r\n"];
    let (server, log) = answering(replies.leak());
    let (code, text, _) = outcome(&mut unbusy(&["kill", "--wait=5s", &server.url()]));
    assert_eq!((code, text.starts_with("killed: the function \"f\"")), (Some(0), true), "{text}");
    let all = heard(&log);
    assert_eq!(all[..5], ["PING", "SCRIPT KILL", "PING", "FUNCTION STATS", "FUNCTION KILL"]);
}

/// It may still arrive, so it is said, and not sent again.
#[test]
fn a_kill_that_is_not_answered_is_not_repeated() {
    let (server, log) = answering(&[BUSY_SCRIPT, ""]);
    let (code, text) = kill(&["--wait=500ms", "--timeout=100ms", &server.url()]);
    assert_eq!(code, 3, "{text}");
    assert!(text.ends_with("the kill is on its way, and ends what runs when it arrives\n"), "{text}");
    assert_eq!(heard(&log), ["PING", "SCRIPT KILL"]);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn nobody_can_kill_a_modules_command() {
    let (server, log) = answering(&["-BUSY Redis is busy running a module command.\r\n"]);
    let (code, text) = kill(&[&server.url()]);
    assert_eq!((code, text.contains("a module's command")), (7, true), "{text}");
    assert_eq!(heard(&log), ["PING"]);
}

#[test]
fn a_master_s_script_cannot_be_killed_on_its_replica() {
    let refusal = "-UNKILLABLE The busy script was sent by a master instance in the context of replication and cannot be killed.\r\n";
    let (server, _) = answering(vec![BUSY_SCRIPT, refusal].leak());
    let (code, text) = kill(&[&server.url()]);
    assert_eq!((code, text.contains("comes from this replica's master")), (7, true), "{text}");
}
