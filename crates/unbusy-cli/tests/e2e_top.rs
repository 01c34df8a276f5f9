//! `unbusy top` in a terminal, and `unbusy status` of a proxy: what they show of real episodes.
mod admin;
mod common;
mod e2e_support;

use admin::Endpoint;
use common::screen::Screen;
use common::{outcome, unbusy};
use e2e_support::{proxy, wait_until};
use rustix::process::Signal;
use testkit::{Client, Flavor, Proxy, Server, busy_lua, wait_until_busy};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];
/// What gives the terminal back.
const LEFT: &str = "\x1b[?1049l";

/// A script of a client's, with three others that wait; until it is dropped or over.
struct Episode {
    sha: String,
    runner: Client,
    waiters: Vec<Client>,
}

impl Episode {
    fn begin(server: &Server, proxy: &Proxy) -> Self {
        let sha = server.client().cmd(&["SCRIPT", "LOAD", busy_lua()]).text();
        let mut runner = Client::connect(proxy.address());
        runner.send_cmd(&["EVALSHA", &sha, "0", "30000"]);
        wait_until_busy(server.address());
        let waiters = (0..3).map(|_| Client::connect(proxy.address()));
        let mut waiters: Vec<_> = waiters.collect();
        for waiter in &mut waiters {
            waiter.send_cmd(&["INCR", "n"]);
        }
        Self { sha, runner, waiters }
    }

    fn end(mut self, server: &Server) {
        assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
        assert!(self.runner.read_reply().error().is_some());
        assert!(self.waiters.iter_mut().all(|waiter| waiter.read_reply().error().is_none()));
    }
}

#[test]
fn a_proxy_is_watched() {
    let server = Server::start(Flavor::Redis70);
    let first = proxy(&server, &ADMIN);
    let url = Endpoint::of(&first).url();
    let mut screen = Screen::start(&["top", &url, "--interval=100ms"]);
    screen.wait_to_see("an open server", |text| {
        text.contains(&format!("{url} of {}", server.address()))
            && text.contains("OPEN")
            && text.contains("nobody waits")
    });

    let episode = Episode::begin(&server, &first);
    let (sha, client) = (episode.sha.clone(), episode.runner.local_address());
    screen.wait_to_see("who waits for what", |text| {
        let words = text.replace('\n', " ");
        words.contains("BUSY for ")
            && words.contains(&format!("script {sha} of {client}"))
            && words.contains("3 of 4 clients wait")
    });
    screen.press("p");
    screen.wait_to_see("a pause", |text| text.contains("PAUSED at "));
    episode.end(&server);
    screen.press("p");
    screen.wait_to_see("an episode that is over", |text| {
        let row = text.lines().find(|line| line.contains(&sha[..10]) && line.contains(&client));
        text.contains("OPEN")
            && text.contains("episodes 1–1 of 1")
            && row.is_some_and(|row| row.trim_end().ends_with("3      0"))
    });

    screen.press("s");
    screen.wait_to_see("what the script cost", |text| {
        let row = text.lines().find(|line| line.contains(&sha[..10]));
        text.contains("the dearest first") && row.is_some_and(|row| row.contains(" 1 "))
    });
    screen.press("s");

    let address = url.trim_start_matches("http://").to_owned();
    drop(first);
    screen.wait_to_see("that the proxy is gone", |text| {
        text.contains("cannot reach the proxy since ") && text.contains(&sha[..10])
    });
    let _second = proxy(&server, &["--admin", &address]);
    screen.wait_to_see("that it is another", |text| {
        text.contains("the proxy was restarted ") && text.contains("0 episodes")
    });

    screen.press("?");
    screen.wait_to_see("help", |text| text.contains("given up  commands whose"));
    screen.press("q");
    assert_eq!(screen.exit(), Some(0));
    assert!(screen.seen.contains(LEFT));
}

/// With a password and a database, neither of which a busy server keeps from being seen.
#[test]
fn a_server_is_watched() {
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).arg("--requirepass").arg("geheim").start();
        let mut screen = Screen::start_with(
            &["top", &format!("redis://:geheim@{}/3", server.address()), "--interval=100ms"],
            &[("NO_COLOR", "1")],
        );
        screen.wait_to_see("an open server", |text| {
            text.contains("OPEN") && text.contains("0 answers with BUSY")
        });
        let mut clients = [server.client(), server.client()];
        assert!(clients.iter_mut().all(|client| client.cmd(&["AUTH", "geheim"]).is_ok()));
        let [runner, killer] = &mut clients;
        runner.send_cmd(&["EVAL", busy_lua(), "0", "30000"]);
        screen.wait_to_see("a script", |text| {
            text.contains("BUSY for ") && text.contains("no command was accepted for ")
        });
        assert!(killer.cmd(&["SCRIPT", "KILL"]).is_ok(), "{flavor}");
        screen.wait_to_see("the end", |text| text.contains("OPEN") && text.contains("episodes 1–1 of 1"));
        assert!(runner.read_reply().error().is_some());
        screen.press("s");
        screen.wait_to_see("what scripts cost", |text| text.lines().any(|line| line.contains(" EVAL ")));
        screen.press("s");
        if flavor != Flavor::Redis62 {
            let library = format!(
                "#!lua name=lib\nredis.register_function('slow', function(KEYS, ARGV) {} end)",
                busy_lua()
            );
            assert_eq!(runner.cmd(&["FUNCTION", "LOAD", &library]).text(), "lib");
            runner.send_cmd(&["FCALL", "slow", "0", "30000"]);
            screen.wait_to_see("a function", |text| {
                text.contains("BUSY for ") && text.contains("function slow")
            });
            assert!(killer.cmd(&["FUNCTION", "KILL"]).is_ok());
            screen.wait_to_see("its end", |text| text.contains("episodes 1–2 of 2"));
        }
        assert!(!screen.seen.contains("geheim"), "{flavor}");
        assert!(!screen.seen.contains("\x1b[38;5;"), "{flavor}: colours");
        drop(server);
        screen.wait_to_see("that it is gone", |text| text.contains("UNREACHABLE for "));
        screen.signal(Signal::TERM);
        assert_eq!(screen.exit(), Some(128 + 15));
        assert!(screen.seen.contains(LEFT), "{flavor}");
    }
}

/// Nobody sees it any more, and it must not go on for ever.
#[test]
fn it_ends_with_its_terminal() {
    let server = Server::start(Flavor::Redis70);
    let mut screen = Screen::start(&["top", &server.url()]);
    screen.wait_to_see("the state", |text| text.contains("OPEN"));
    assert_eq!(screen.exit_without_terminal(), Some(128 + 1));
}

/// The exit code and what was printed.
fn status(args: &[&str]) -> (i32, String) {
    let (code, output, errors) = outcome(unbusy(&["status"]).args(args));
    assert_eq!(errors, "");
    (code.expect("an exit code"), output)
}

#[test]
fn a_proxy_is_asked_for_the_state_of_its_server() {
    let server = Server::start(Flavor::Valkey91);
    let proxy = proxy(&server, &ADMIN);
    let url = Endpoint::of(&proxy).url();
    let (code, text) = status(&[&url]);
    assert_eq!(code, 0, "{text}");
    let seen = format!("\n  seen by the proxy at {url}\n");
    assert!(
        text.starts_with(&format!("open: {} accepts ", server.address())) && text.ends_with(&seen),
        "{text}"
    );

    let episode = Episode::begin(&server, &proxy);
    let what = format!("while it runs the script {} of {}\n", episode.sha, episode.runner.local_address());
    let mut told = (0, String::new());
    wait_until("the script is named", || {
        told = status(&[&url]);
        told.1.contains(&what)
    });
    assert_eq!(told.0, 1, "{told:?}");
    assert!(told.1.starts_with("busy: ") && told.1.contains("3 of 4 clients, 3 commands"), "{told:?}");
    let (code, text) = status(&[&url, "--json"]);
    assert_eq!(code, 1, "{text}");
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&object["state"], &object["proxy"]), (&"busy".into(), &url.as_str().into()), "{text}");
    assert_eq!(
        (&object["busy"]["script"], &object["held_connections"]),
        (&episode.sha.as_str().into(), &3.into()),
        "{text}"
    );
    assert_eq!(object["episodes"], serde_json::Value::Null, "{text}");
    episode.end(&server);

    drop(server);
    let mut told = (0, String::new());
    wait_until("the server is gone", || {
        told = status(&[&url]);
        told.0 == 4
    });
    assert!(told.1.starts_with("unreachable: ") && told.1.contains("cannot be used: "), "{told:?}");
    drop(proxy);
    let (code, text) = status(&[&url]);
    assert_eq!(code, 4, "{text}");
    assert!(text.starts_with(&format!("unreachable: the proxy at {url} cannot be reached: ")), "{text}");
    let (code, text) = status(&[&url, "--json"]);
    assert_eq!((code, text.contains("\"reason\":")), (4, true), "{text}");
}

/// A server, whom HTTP tells nothing.
#[test]
fn what_is_no_proxy_is_told_apart() {
    let server = Server::start(Flavor::Redis70);
    let (code, text) = status(&[&format!("http://{}", server.address())]);
    assert_eq!(code, 4, "{text}");
    assert!(text.starts_with("unreachable: "), "{text}");
}
