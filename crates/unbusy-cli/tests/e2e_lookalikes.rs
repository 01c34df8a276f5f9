//! Errors that look like BUSY and are not pass unchanged, and what caused them runs once.
#[path = "e2e/mod.rs"]
mod e2e;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::{Client, Flavor, Proxy, Reply, ScriptedServer, Server, encode};

use e2e::{ENDLESS, SOON, binary, make_busy, on_every_server, ready, release, show, start_proxy, words};

/// Counts and then fails, in every way in which a script can.
const FAILING: [&str; 6] = [
    "redis.call('INCR', KEYS[1]) return redis.error_reply('BUSY something')",
    "redis.call('INCR', KEYS[1]) return {err='BUSY something'}",
    "redis.call('INCR', KEYS[1]) return redis.error_reply('BUSYGROUP something')",
    "redis.call('INCR', KEYS[1]) error({err='BUSY thrown'})",
    "redis.call('INCR', KEYS[1]) error('BUSY thrown')",
    "redis.call('INCR', KEYS[1]) return {1, {err='BUSY inside'}, 2}",
];

on_every_server!(
    a_script_with_an_error_of_its_own_runs_once,
    a_function_with_an_error_of_its_own_runs_once,
    in_a_transaction,
    groups_and_keys,
    values_that_look_like_errors,
);

/// Plays on a quiet and on a busy server; the replies must be those of a quiet server without a proxy.
fn compare(flavor: Flavor, commands: &[Vec<Vec<u8>>], calls: usize) {
    let server = Server::builder(flavor).threshold(Duration::from_millis(50)).start();
    let play = |client: &mut Client| -> Vec<String> {
        commands
            .iter()
            .map(|words| {
                client.send_cmd(words);
                show(&client.read_frame())
            })
            .collect()
    };
    let reset = || assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    let count = || server.client().cmd(&["INCRBY", "n", "0"]).integer() as usize;

    let direct = play(&mut server.client());
    assert_eq!(count(), calls, "{flavor}: direct");
    let proxy = start_proxy(&server, &[]);
    reset();
    assert_eq!(play(&mut Client::connect(proxy.address())), direct, "{flavor}: quiet");
    assert_eq!(count(), calls, "{flavor}: quiet");
    reset();
    let mut client = ready(proxy.address());
    let script = make_busy(&server, Duration::from_millis(300));
    assert_eq!(play(&mut client), direct, "{flavor}: busy");
    script.join();
    assert_eq!(count(), calls, "{flavor}: busy");
    // Each of them at a moment when it is the one that is rejected.
    let alone = |words: &[Vec<u8>]| words[0].starts_with(b"EVAL") || words[0].starts_with(b"FCALL");
    for (n, words) in commands.iter().enumerate().filter(|(_, words)| alone(words)) {
        let before = count();
        assert_eq!(held(&server, words), direct[n], "{flavor}: held");
        assert_eq!(count(), before + 1, "{flavor}: {}", direct[n]);
    }
}

/// Sends a command while the server is busy, ends that when the command was rejected, and gives back the reply.
fn held(server: &Server, words: &[Vec<u8>]) -> String {
    let proxy = start_proxy(server, &[]);
    let mut client = Client::connect(proxy.address());
    let script = make_busy(server, ENDLESS);
    client.send_cmd(words);
    proxy.wait_log("commands are held", SOON);
    release(server, script);
    show(&client.read_frame())
}

fn own(line: &[&str]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn a_script_with_an_error_of_its_own_runs_once(flavor: Flavor) {
    let commands: Vec<_> = FAILING.iter().map(|lua| own(&["EVAL", lua, "1", "n"])).collect();
    compare(flavor, &commands, FAILING.len());
}

fn a_function_with_an_error_of_its_own_runs_once(flavor: Flavor) {
    if flavor == Flavor::Redis62 {
        return;
    }
    let functions: Vec<_> = FAILING
        .iter()
        .enumerate()
        .map(|(n, lua)| format!("redis.register_function('f{n}', function(KEYS, ARGV) {lua} end)"))
        .collect();
    let library = format!("#!lua name=lib\n{}", functions.join("\n"));
    let mut commands = vec![own(&["FUNCTION", "LOAD", "REPLACE", &library])];
    commands.extend((0..FAILING.len()).map(|n| own(&["FCALL", &format!("f{n}"), "1", "n"])));
    compare(flavor, &commands, FAILING.len());
}

fn in_a_transaction(flavor: Flavor) {
    let mut commands = vec![own(&["MULTI"])];
    commands.extend(FAILING.iter().map(|lua| own(&["EVAL", lua, "1", "n"])).map(|mut words| {
        // Lower case, so that it is not taken for one that is tried on its own.
        words[0] = b"eval".to_vec();
        words
    }));
    commands.push(own(&["EXEC"]));
    compare(flavor, &commands, FAILING.len());
}

fn groups_and_keys(flavor: Flavor) {
    let lines = [
        "XGROUP CREATE s g $ MKSTREAM",
        "XGROUP CREATE s g $ MKSTREAM",
        "XGROUP CREATE s g $",
        "INCR n",
        "RESTORE n 0 x",
        "RESTORE other 0 x",
        "INCR n",
    ];
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let play = |address: &str| -> Vec<String> {
        let mut client = Client::connect(address);
        lines
            .map(|line| {
                client.send_cmd(&words(line));
                show(&client.read_frame())
            })
            .to_vec()
    };
    let direct = play(server.address());
    assert!(direct[1].starts_with("-BUSYGROUP "), "{}", direct[1]);
    assert!(direct[4].starts_with("-BUSYKEY "), "{}", direct[4]);
    let mut control = server.client();
    let mut assert_runs_once = |how: &str, play: &dyn Fn() -> Vec<String>| {
        assert!(control.cmd(&["FLUSHALL"]).is_ok());
        assert!(control.cmd(&["CONFIG", "RESETSTAT"]).is_ok());
        assert_eq!(play(), direct, "{flavor}: {how}");
        let stats = control.cmd(&["INFO", "commandstats"]).text();
        let calls = |name: &str| stats.lines().any(|line| line.starts_with(name));
        let xgroup = if flavor == Flavor::Redis62 { "cmdstat_xgroup:" } else { "cmdstat_xgroup|create:" };
        assert!(calls(&format!("{xgroup}calls=3,")), "{how}: {stats}");
        assert!(calls("cmdstat_restore:calls=2,"), "{how}: {stats}");
        assert_eq!(control.cmd(&["GET", "n"]).text(), "2", "{how}");
    };
    assert_runs_once("quiet", &|| play(proxy.address()));
    let each_held = || lines.map(|line| held(&server, &words(line))).to_vec();
    assert_runs_once("busy", &each_held);
}

fn values_that_look_like_errors(flavor: Flavor) {
    const TEXT: &str =
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    let text = format!("{TEXT}\r\n");
    let commands = [
        own(&["SET", "k", &text]),
        own(&["GET", "k"]),
        own(&["ECHO", &text]),
        own(&["RPUSH", "l", TEXT, &text, "-BUSY x"]),
        own(&["LRANGE", "l", "0", "-1"]),
        own(&["INCR", "n"]),
        own(&["PING", TEXT]),
        own(&["eval", "return redis.status_reply('BUSY x')", "0"]),
        own(&["eval", "return {'-BUSY x', {'-BUSY y'}}", "0"]),
        own(&["SUBSCRIBE", TEXT]),
        own(&["UNSUBSCRIBE", TEXT]),
        own(&["INCR", "n"]),
    ];
    compare(flavor, &commands, 2);
}

/// What no real server says when one would like it to: each reply passes unchanged, and the command is sent once.
#[test]
fn made_up_replies_pass_unchanged() {
    const SCRIPT: &str = "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    let exact = format!("-BUSY {SCRIPT}\r\n");
    let get = &["GET", "k"][..];
    let cases: Vec<(&[&str], String)> = vec![
        (get, "-BUSYGROUP x\r\n".into()),
        (get, "-BUSYKEY x\r\n".into()),
        (get, "-BUSYLOADING x\r\n".into()),
        (get, "-NOTBUSY x\r\n".into()),
        (get, format!("-busy {SCRIPT}\r\n")),
        (get, format!("-ERR BUSY {SCRIPT}\r\n")),
        (get, format!("-ERR Target instance replied with error: BUSY {SCRIPT}\r\n")),
        (get, format!("- BUSY {SCRIPT}\r\n")),
        (get, "-BUSY\r\n".into()),
        (get, "-BUSY\tx\r\n".into()),
        (get, format!("+BUSY {SCRIPT}\r\n")),
        (get, "$6\r\nBUSY x\r\n".into()),
        (get, format!("*1\r\n{exact}")),
        (get, format!("*2\r\n:1\r\n*1\r\n{exact}")),
        (get, "!10\r\nBUSY abcde\r\n".into()),
        (get, format!("-EXECABORT Transaction discarded because of: BUSY {SCRIPT}\r\n")),
        (get, "-UNKILLABLE x\r\n".into()),
        (get, "-LOADING Redis is loading the dataset in memory\r\n".into()),
        // A module's command may have written before it says so; a script likewise.
        (&["JSON.SET", "k"], "-BUSY the module has its own reasons\r\n".into()),
        (&["FT.SEARCH", "k"], "-BUSY\r\n".into()),
        (&["EVAL", "x", "0"], "-BUSY something\r\n".into()),
        (&["EVALSHA", "x", "0"], "-BUSY something\r\n".into()),
        (&["FCALL", "x", "0"], "-BUSY something\r\n".into()),
        (&["EVAL_RO", "x", "0"], format!("-BUSY {SCRIPT} script: x, on @user_script:1.\r\n")),
        (&["SCRIPT", "KILL"], exact.clone()),
        (&["FUNCTION", "KILL"], exact.clone()),
        (&["FUNCTION", "STATS"], exact.clone()),
        (&["SHUTDOWN"], exact),
    ];
    let seen = Arc::new(Mutex::new(Vec::new()));
    let replies: Arc<Vec<_>> =
        Arc::new(cases.iter().map(|(words, reply)| (encode(words), reply.clone())).collect());
    let server = ScriptedServer::start({
        let (seen, replies) = (Arc::clone(&seen), Arc::clone(&replies));
        // The first word of a connection tells which case it is for.
        move |_, stream| {
            let mut peer = Client::from(stream);
            let case = case_number(&mut peer);
            loop {
                let frame = peer.read_frame();
                let reply = case.and_then(|case| replies.get(case)).filter(|(words, _)| *words == frame);
                seen.lock().expect("a list").push(frame);
                peer.send(reply.map_or(&b"+OK\r\n"[..], |(_, reply)| reply.as_bytes()));
            }
        }
    });
    let proxy = Proxy::start(binary(), &server.url(), &["--busy-threshold", "100ms"]);
    for (case, (words, reply)) in cases.iter().enumerate() {
        let mut client = Client::connect(proxy.address());
        assert_eq!(client.cmd(&["ECHO", &case.to_string()]), Reply::Simple("OK".into()));
        let got = client.exchange(&[encode(words), encode(&["PING"])].concat(), 2);
        assert_eq!(show(&got[0]), show(reply.as_bytes()), "{words:?}");
        assert_eq!(show(&got[1]), "+OK\\r\\n", "{words:?}");
        let seen = std::mem::take(&mut *seen.lock().expect("a list"));
        let times = seen.iter().filter(|frame| **frame == encode(words)).count();
        assert_eq!(times, 1, "{words:?} answered {reply:?} was sent {times} times");
    }
}

/// Answers the first command, and tells the number in it.
fn case_number(peer: &mut Client) -> Option<usize> {
    let first = Reply::parse(&peer.read_frame());
    peer.send(b"+OK\r\n");
    first.items().last().and_then(|word| word.text().parse().ok())
}
