//! `unbusy status` on real servers, also while they are busy.
mod common;
#[path = "e2e/mod.rs"]
mod e2e;

use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Client, Flavor, ScriptedServer, Server, busy_lua};

use common::{outcome, unbusy};
use e2e::{ENDLESS, make_busy, on_every_server, release};

on_every_server!(open, busy_with_a_script, busy_with_a_function, stalled, refused);

/// The exit code and what was printed; nothing on standard error.
fn status(args: &[&str]) -> (i32, String) {
    let (code, output, errors) = outcome(unbusy(&["status"]).args(args));
    assert_eq!(errors, "");
    (code.expect("an exit code"), output)
}

fn open(flavor: Flavor) {
    let server = Server::start(flavor);
    let (code, text) = status(&[&server.url()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with(&format!("open: {} answers in ", server.url())), "{text}");
    let socket = format!("unix:{}", server.unix_path().display());
    let (code, text) = status(&[&socket, "--json"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\"state\":\"open\"") && text.contains(&socket), "{text}");
    let tenths =
        text.split("\"round_trip_ms\":").nth(1).and_then(|rest| rest.split(',').next()?.parse::<f64>().ok());
    assert!(tenths.is_some_and(|millis| millis > 0.0 && millis < 1000.0), "{text}");
}

/// With a database, which cannot be selected now.
fn busy_with_a_script(flavor: Flavor) {
    let server = Server::start(flavor);
    let script = make_busy(&server, ENDLESS);
    let mut control = server.client();
    let url = format!("{}/3", server.url());
    let (code, text) = status(&[&url]);
    assert_eq!(code, 1, "{text}");
    let hint = format!("unbusy kill {}\n", server.url());
    assert!(
        text.starts_with("busy: ") && text.contains("it runs a script") && text.ends_with(&hint),
        "{text}"
    );
    assert!(text.contains("call SCRIPT KILL or SHUTDOWN NOSAVE"), "the server's own text: {text}");
    let (code, text) = status(&[&url, "--json", "--busy-threshold=100ms"]);
    assert_eq!(code, 1, "{text}");
    let fields =
        ["\"state\":\"busy\"", "\"kind\":\"script\"", "\"function\":null", "\"running_at_least_ms\":100.0"];
    assert!(fields.iter().all(|field| text.contains(field)), "{text}");
    assert!(control.cmd(&["PING"]).is_busy(), "it still runs");
    release(&server, script);
    assert_eq!(status(&[&url]).0, 0);
}

fn busy_with_a_function(flavor: Flavor) {
    if flavor == Flavor::Redis62 {
        return;
    }
    let server = Server::builder(flavor).arg("--requirepass").arg("geheim").start();
    let url = format!("redis://:geheim@{}/3", server.address());
    let mut caller = server.client();
    caller.cmd(&["AUTH", "geheim"]);
    let library =
        format!("#!lua name=lib\nredis.register_function('slow', function(KEYS, ARGV) {} end)", busy_lua());
    assert_eq!(caller.cmd(&["FUNCTION", "LOAD", &library]).text(), "lib");
    caller.send_cmd(&["FCALL", "slow", "0", "60000", "an-argument"]);
    let mut killer = server.client();
    killer.cmd(&["AUTH", "geheim"]);
    e2e::wait_until("the server is busy", || killer.cmd(&["PING"]).is_busy());

    let (code, text) = status(&[&url]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("it runs the function \"slow\", for ") && text.contains(" so far\n"), "{text}");
    assert!(!text.contains("an-argument") && !text.contains("geheim"), "{text}");
    let (_, text) = status(&[&url, "--show-arguments"]);
    assert!(text.contains("called by: FCALL slow 0 60000 an-argument\n"), "{text}");
    let running = |text: &str| {
        let rest = text.split("\"running_ms\":").nth(1).expect("the field");
        rest.split(',').next().and_then(|number| number.parse::<f64>().ok()).expect("a number")
    };
    let (_, first) = status(&[&url, "--json"]);
    let (_, second) = status(&[&url, "--json", "--show-arguments"]);
    assert!(running(&first) >= 100.0 && running(&second) > running(&first), "{first}{second}");
    assert!(!first.contains("an-argument") && second.contains("\"an-argument\""), "{first}{second}");
    assert!(killer.cmd(&["FUNCTION", "KILL"]).is_ok());
}

/// A stopped process: the system takes the connection, nobody answers.
fn stalled(flavor: Flavor) {
    let server = Server::start(flavor);
    stop(&server);
    let (code, text) = status(&[&server.url(), "--timeout=50ms"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("did not answer within 50ms") && text.contains("5s unless"), "{text}");
    let (code, text) = status(&[&server.url(), "--timeout=50ms", "--json"]);
    assert_eq!((code, text.contains("\"state\":\"stalled\"")), (3, true), "{text}");
    let (_, text) = status(&[&server.url(), "--timeout=50ms", "--busy-threshold=250ms"]);
    assert!(text.contains("(250ms)"), "{text}");
}

fn stop(server: &Server) {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::STOP).expect("it runs");
}

fn refused(flavor: Flavor) {
    let server = Server::builder(flavor).arg("--requirepass").arg("geheim").start();
    for (url, code) in
        [(server.url(), "NOAUTH"), (format!("redis://:falsch@{}", server.address()), "WRONGPASS")]
    {
        let (exit, text) = status(&[&url]);
        assert_eq!(exit, 6, "{text}");
        assert!(text.starts_with("refused: ") && text.contains(code) && !text.contains("falsch"), "{text}");
    }
    assert_eq!(status(&[&format!("redis://:geheim@{}", server.address())]).0, 0);
    // A password that no server asked for is no harm.
    let server = Server::start(flavor);
    assert_eq!(status(&[&format!("redis://:geheim@{}", server.address())]).0, 0);
}

#[test]
fn unreachable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (code, text) = status(&[&url]);
    assert_eq!(code, 4, "{text}");
    assert!(text.starts_with(&format!("unreachable: {url} cannot be reached: ")), "{text}");
    let closing = ScriptedServer::start(|_, _| {});
    let (code, text) = status(&[&closing.url()]);
    assert_eq!(code, 4, "{text}");
}

/// A server that answers these lines, one after the other.
fn answering(replies: &'static [&'static str]) -> ScriptedServer {
    ScriptedServer::start(move |_, stream| {
        let mut peer = Client::from(stream);
        for reply in replies {
            peer.read_frame();
            peer.send(reply.as_bytes());
        }
    })
}

#[test]
fn loading() {
    let server = answering(&["-LOADING Redis is loading the dataset in memory\r\n"]);
    let (code, text) = status(&[&server.url()]);
    assert_eq!(code, 5, "{text}");
    assert!(text.starts_with("loading: "), "{text}");
}

/// A server that cannot save answers PING with that, busy or not.
#[test]
fn busy_behind_another_error() {
    let server = answering(&[
        "-MISCONF Errors writing to the AOF file: No space left on device\r\n",
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    ]);
    let (code, text) = status(&[&server.url()]);
    assert_eq!(code, 1, "{text}");
}

#[test]
fn a_modules_text_controls_no_terminal() {
    let server = answering(&["-BUSY module \x1b[2Jat work\r\n"]);
    let (code, text) = status(&[&server.url()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("a module's command") && text.contains("module \\u{1b}[2Jat work"), "{text:?}");
    assert!(!text.contains('\x1b') && !text.contains("unbusy kill"), "{text:?}");
}

#[test]
fn the_server_is_found_where_programs_find_it() {
    let server = Server::start(Flavor::Redis70);
    for variable in ["UNBUSY_UPSTREAM", "REDIS_URL"] {
        let (code, text, _) = outcome(unbusy(&["status"]).env(variable, format!("{}/3", server.url())));
        assert_eq!(code, Some(0), "{variable}: {text}");
    }
    let mut both = unbusy(&["status"]);
    both.env("UNBUSY_UPSTREAM", server.url()).env("REDIS_URL", "redis://127.0.0.1:1");
    assert_eq!(outcome(&mut both).0, Some(0));
    let (code, _, message) = outcome(&mut unbusy(&["status"]));
    assert_eq!(code, Some(2));
    assert!(message.starts_with("error: no server is named"), "{message}");
    let (code, _, message) = outcome(&mut unbusy(&["status", "http://:geheim@host"]));
    assert_eq!(code, Some(2));
    assert!(message.starts_with("error: URL \"http://…@host\": not the address of a proxy"), "{message}");
}
