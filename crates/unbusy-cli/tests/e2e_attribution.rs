//! Which script makes the server busy, and whose it is: the log tells at the beginning of an episode.
mod e2e_support;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use e2e_support::{PATIENCE, StopOnDrop, on_every_server};
use testkit::{BusyScript, Client, Flavor, Proxy, Server, busy_lua, encode, wait_until_busy};

/// Longer than the threshold, and nothing that could be in a log line by chance.
const SCRIPT_MILLIS: &str = "0000700";
const BEGAN: &str = "commands are held";

/// The lines with which episodes began.
fn episodes(proxy: &Proxy) -> Vec<String> {
    proxy.log().lines().filter(|line| line.contains(BEGAN)).map(Into::into).collect()
}

/// Lets somebody else meet the busy server, and waits for the line about the episode; before it there were so many.
fn meet(proxy: &Proxy, before: usize) -> String {
    let mut other = Client::connect(proxy.address());
    assert!(other.cmd(&["GET", "k"]).error().is_none());
    e2e_support::wait_until("a line about the episode", || episodes(proxy).len() > before);
    episodes(proxy).swap_remove(before)
}

fn sha1(server: &Server, lua: &str) -> String {
    server.client().cmd(&["SCRIPT", "LOAD", lua]).text()
}

fn start_script(server: &Server, client: &mut Client, words: &[&str]) {
    client.send_cmd(words);
    wait_until_busy(server.address());
}

#[test]
fn a_script_is_named_by_its_sha1_and_its_client_by_its_address() {
    on_every_server(|server, proxy| {
        let flavor = server.flavor();
        let sha = sha1(server, busy_lua());
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(proxy.address())).collect();
        let ways: [&[&str]; 4] = [
            &["EVAL", busy_lua(), "0", SCRIPT_MILLIS],
            &["EVALSHA", &sha.to_uppercase(), "0", SCRIPT_MILLIS],
            &["MULTI"],
            // The last is sent past the proxy.
            &["PING"],
        ];
        for (at, (client, words)) in clients.iter_mut().zip(ways).enumerate() {
            match at {
                2 => {
                    client.cmd(&["MULTI"]);
                    client.cmd(&["SET", "k", "v"]);
                    client.cmd(&["EVALSHA", &sha, "0", SCRIPT_MILLIS]);
                    start_script(server, client, &["EXEC"]);
                }
                3 => {
                    let script = BusyScript::start(server.address(), Duration::from_millis(700));
                    script.wait_until_busy(server.address());
                    let line = meet(proxy, at);
                    assert!(line.contains("not through this proxy"), "{flavor}: {line}");
                    script.join();
                    continue;
                }
                _ => start_script(server, client, words),
            }
            let line = meet(proxy, at);
            assert!(line.contains(&format!("script={sha:?}")), "{flavor}, {words:?}: {line}");
            assert!(line.contains(&client.local_address()), "{flavor}, {words:?}: {line}");
            assert!(!line.contains(SCRIPT_MILLIS), "no argument is told: {line}");
            client.read_reply();
        }
    });
}

/// What it calls itself, and as whom it has logged in, whichever way it said so.
#[test]
fn a_client_is_named_as_it_names_itself() {
    on_every_server(|server, proxy| {
        let rules = ["ACL", "SETUSER", "alice", "on", ">secret", "~*", "+@all"];
        assert!(server.client().cmd(&rules).is_ok());
        let ways: [&[&[&str]]; 2] = [
            &[&["AUTH", "alice", "secret"], &["CLIENT", "SETNAME", "worker-1"]],
            &[&["HELLO", "3", "AUTH", "alice", "secret", "SETNAME", "worker-1"]],
        ];
        for (before, way) in ways.into_iter().enumerate() {
            let mut client = Client::connect(proxy.address());
            for words in way {
                assert!(client.cmd(words).error().is_none());
            }
            start_script(server, &mut client, &["EVAL", busy_lua(), "1", "k", SCRIPT_MILLIS]);
            let line = meet(proxy, before);
            assert!(client.read_reply().error().is_none());
            for part in ["keys=1", "client_name=\"worker-1\"", "user=\"alice\""] {
                assert!(line.contains(part), "{}: {line}", server.flavor());
            }
            assert!(!line.contains("secret") && !line.contains(SCRIPT_MILLIS), "{line}");
        }
    });
}

#[test]
fn arguments_are_told_if_that_is_wanted() {
    let server = Server::start(Flavor::Redis70);
    let proxy = e2e_support::proxy(&server, &["--show-arguments"]);
    let mut client = Client::connect(proxy.address());
    start_script(&server, &mut client, &["EVAL", busy_lua(), "0", SCRIPT_MILLIS, "and more"]);
    let line = meet(&proxy, 0);
    assert!(line.contains(&format!("arguments=\"{SCRIPT_MILLIS} and more\"")), "{line}");
    assert_eq!(client.read_reply().integer(), 1);
}

/// The server answers when the last one has run, so the proxy cannot know which of them it is.
#[test]
fn of_several_that_were_sent_at_once_the_first_is_named_and_that_it_may_be_another() {
    on_every_server(|server, proxy| {
        let sha = sha1(server, busy_lua());
        let mut client = Client::connect(proxy.address());
        let [fast, slow] = ["1", SCRIPT_MILLIS].map(|millis| encode(&["EVALSHA", &sha, "0", millis]));
        // Once the server has answered, both may go at once.
        client.cmd(&["PING"]);
        client.send(&[fast, slow].concat());
        wait_until_busy(server.address());
        let line = meet(proxy, 0);
        assert!(line.contains(&format!("{sha}, or another one")), "{}: {line}", server.flavor());
        assert_eq!([client.read_reply().integer(), client.read_reply().integer()], [1, 1]);
    });
}

fn load_functions(server: &Server, names: &[&str]) {
    let lua = busy_lua()
        .replace("if redis.replicate_commands then redis.replicate_commands() end ", "")
        .replace("rawget(_G, 'os')", "nil");
    let functions = names.iter().map(|name| {
        format!(
            "redis.register_function{{function_name='{name}', flags={{'no-writes'}}, callback=function(KEYS, ARGV) {lua} end}}\n"
        )
    });
    let library = format!("#!lua name=lib\n{}", functions.collect::<String>());
    assert_eq!(server.client().cmd(&["FUNCTION", "LOAD", &library]).text(), "lib", "{}", server.flavor());
}

#[test]
fn a_function_is_named() {
    for flavor in [Flavor::Redis70, Flavor::Valkey91] {
        let server = Server::start(flavor);
        let proxy = e2e_support::proxy(&server, &[]);
        load_functions(&server, &["slow"]);
        let mut client = Client::connect(proxy.address());
        start_script(&server, &mut client, &["FCALL", "slow", "0", SCRIPT_MILLIS]);
        let line = meet(&proxy, 0);
        assert!(line.contains("slow") && line.contains(&client.local_address()), "{flavor}: {line}");
        client.read_reply();

        // Of one that was sent past the proxy the server tells.
        let mut stranger = server.client();
        start_script(&server, &mut stranger, &["FCALL", "slow", "0", SCRIPT_MILLIS]);
        assert!(meet(&proxy, 1).contains("not through this proxy"), "{flavor}");
        e2e_support::wait_until("what the server says", || {
            let log = proxy.log();
            log.lines()
                .any(|line| line.contains("the server says which function it runs") && line.contains("slow"))
        });
        stranger.read_reply();
    }
}

/// A client that gives up sooner than the server answers BUSY, as those with short time-outs do.
#[test]
fn one_whose_client_has_left_is_named() {
    on_every_server(|server, proxy| {
        let sha = sha1(server, busy_lua());
        let mut client = Client::connect(proxy.address());
        let address = client.local_address();
        client.send_cmd(&["EVALSHA", &sha, "0", SCRIPT_MILLIS]);
        thread::sleep(Duration::from_millis(30));
        drop(client);
        wait_until_busy(server.address());
        let line = meet(proxy, 0);
        assert!(line.contains(&sha) && line.contains(&address), "{}: {line}", server.flavor());
    });
}

/// Twenty clients with a script or a function each, of which one after the other is slow.
#[test]
fn among_many_scripts_and_functions_the_slow_one_is_named() {
    const CLIENTS: usize = 20;
    const SLOW: usize = 5;
    let server = Server::start(Flavor::Redis70);
    let proxy = e2e_support::proxy(&server, &[]);
    let text = |number: usize| format!("local number = {number} {}", busy_lua());
    let function = |number: usize| format!("function_{number}");
    let functions: Vec<_> = (0..CLIENTS).map(function).collect();
    load_functions(&server, &functions.iter().map(String::as_str).collect::<Vec<_>>());
    // Every other one.
    let run = |client: &mut Client, number: usize, millis: &str| match number % 2 {
        0 => client.cmd(&["EVAL", &text(number), "0", millis]).integer(),
        _ => client.cmd(&["FCALL", &function(number), "0", millis]).integer(),
    };
    let name = |number: usize| match number % 2 {
        0 => sha1(&server, &text(number)),
        _ => function(number),
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&over);
        for number in SLOW..CLIENTS {
            let (proxy, over, run) = (&proxy, &over, &run);
            scope.spawn(move || {
                let mut client = Client::connect(proxy.address());
                client.set_timeout(PATIENCE);
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(run(&mut client, number, "1"), 1);
                }
            });
        }
        for number in 0..SLOW {
            let mut client = Client::connect(proxy.address());
            client.set_timeout(PATIENCE);
            assert_eq!(run(&mut client, number, SCRIPT_MILLIS), 1);
            e2e_support::wait_until("an episode", || episodes(&proxy).len() > number);
            let line = episodes(&proxy).swap_remove(number);
            assert!(
                line.contains(&name(number)) && line.contains(&client.local_address()),
                "{number}: {line}"
            );
        }
    });
}
