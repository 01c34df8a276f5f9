//! A command waits for its budget and no longer; then the client gets what the server said, and nothing that was to
//! run behind it runs in the wrong place.
#[path = "e2e/mod.rs"]
mod e2e;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::{Client, Flavor, Proxy, Reply, ScriptedServer, Server, encode};

use e2e::{
    ENDLESS, binary, busy_text, command, data, make_busy, on_every_server, pipeline, ready, release, show,
    start_proxy, words,
};

const MAX_WAIT: Duration = Duration::from_secs(1);
const SCRIPT: Duration = Duration::from_secs(3);
const AT_ONCE: Duration = Duration::from_millis(200);

on_every_server!(
    every_command_has_its_budget,
    nothing_runs_behind_a_select_that_was_given_up,
    transactions_are_given_up_whole,
    a_budget_of_zero_passes_busy_on,
    a_script_within_the_budget_is_waited_for,
    a_stall_costs_no_budget,
);

fn one_second_proxy(server: &Server) -> Proxy {
    start_proxy(server, &["--max-wait", "1s"])
}

/// Asserts that `begin` is `budgets` budgets ago, within a tenth.
fn assert_waited(begin: Instant, budgets: f64, what: &str) {
    let waited = begin.elapsed().as_secs_f64() / MAX_WAIT.as_secs_f64();
    assert!((waited - budgets).abs() <= 0.1 * budgets, "{what}: {waited:.3} s instead of {budgets} s");
}

fn every_command_has_its_budget(flavor: Flavor) {
    let server = Server::start(flavor);
    let busy = show(&busy_text(&server));
    let proxy = one_second_proxy(&server);
    let mut first = ready(proxy.address());
    let mut new = Client::connect(proxy.address());
    let mut pipelined = ready(proxy.address());
    let script = make_busy(&server, SCRIPT);

    let begin = Instant::now();
    first.send_cmd(&["SET", "first", "x"]);
    new.send(b"INCR new\r\n");
    pipelined.send(&pipeline(&["SET a 1", "INCR a", "EVAL 'return redis.call(\"INCR\", \"a\")' 0", "GET a"]));
    assert_eq!(show(&first.read_frame()), busy, "the server's own words");
    assert_waited(begin, 1.0, "a connection that was there before");
    assert_eq!(show(&new.read_frame()), busy);
    assert_waited(begin, 1.0, "a new connection");
    for n in 1..=4 {
        assert_eq!(show(&pipelined.read_frame()), busy);
        assert_waited(begin, 1.0, &format!("command {n} of a pipeline"));
    }

    // The connections stay usable: the next commands have budgets of their own.
    first.send_cmd(&["GET", "first"]);
    new.send_cmd(&["INCR", "new"]);
    assert_eq!(show(&first.read_frame()), busy);
    assert_eq!(show(&new.read_frame()), busy);
    assert_waited(begin, 2.0, "the next command");
    first.send_cmd(&["GET", "first"]);
    pipelined.send(&pipeline(&["INCR late", "INCR late"]));
    let (_, end) = script.join();
    assert_eq!(first.read_reply(), Reply::Null, "given up is not executed");
    assert_eq!(pipelined.read_reply().integer(), 1);
    assert_eq!(pipelined.read_reply().integer(), 2);
    assert!(end.elapsed() < AT_ONCE, "{:?} after the script's end", end.elapsed());
    assert_eq!(new.cmd(&["PING"]).text(), "PONG");
    let keys: Vec<_> = data(&mut server.client()).into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys, ["late"], "nothing that was given up is executed");
}

fn nothing_runs_behind_a_select_that_was_given_up(flavor: Flavor) {
    let server = Server::start(flavor);
    let busy = show(&busy_text(&server));
    let proxy = one_second_proxy(&server);
    let mut clients = [ready(proxy.address()), Client::connect(proxy.address())];
    let script = make_busy(&server, Duration::from_millis(1500));
    let begin = Instant::now();
    for client in &mut clients {
        client.send(&pipeline(&["SELECT 3", "SET k v", "INCR n"]));
    }
    for client in &mut clients {
        // Valkey 9.1 executes SELECT while it is busy.
        let select = show(&client.read_frame());
        assert!(select == busy || (flavor == Flavor::Valkey91 && select == "+OK\\r\\n"), "{select}");
        for _ in 0..2 {
            assert_eq!(show(&client.read_frame()), busy);
        }
    }
    assert_waited(begin, 1.0, "all three");
    script.join();
    for client in &mut clients {
        // What is sent now is sent in the knowledge of the failure.
        assert!(client.cmd(&["SELECT", "3"]).is_ok());
        assert_eq!(client.cmd(&["GET", "k"]), Reply::Null);
    }
    assert_eq!(data(&mut server.client()), [], "nothing was executed anywhere");
}

fn transactions_are_given_up_whole(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = one_second_proxy(&server);
    let transaction = ["MULTI", "SET k v", "INCR n", "EXEC"];
    // Begun before, begun while busy, on a new connection, and under WATCH.
    let mut halfway = ready(proxy.address());
    halfway.exchange(&pipeline(&transaction[..2]), 2);
    let mut complete = ready(proxy.address());
    let mut new = Client::connect(proxy.address());
    let mut watching = ready(proxy.address());
    watching.exchange(&pipeline(&["WATCH k", "GET k"]), 2);
    let mut stepwise = ready(proxy.address());
    let script = make_busy(&server, Duration::from_millis(1500));

    let begin = Instant::now();
    halfway.send(&pipeline(&transaction[2..]));
    for client in [&mut complete, &mut new, &mut watching] {
        client.send(&pipeline(&transaction));
    }
    for (what, client, replies) in
        [("begun before", &mut halfway, 2), ("complete", &mut complete, 4), ("new", &mut new, 4)]
    {
        let outcome = (0..replies).map(|_| client.read_frame()).last().expect("a reply to EXEC");
        assert!(outcome.starts_with(b"-EXECABORT "), "{what}: {}", show(&outcome));
        assert_waited(begin, 1.0, what);
    }
    let outcome = (0..4).map(|_| watching.read_frame()).last().expect("a reply to EXEC");
    let null_or_aborted = Reply::parse(&outcome) == Reply::Null || outcome.starts_with(b"-EXECABORT ");
    assert!(null_or_aborted, "watching: {}", show(&outcome));
    let outcome = transaction.map(|line| stepwise.cmd(&words(line))).into_iter().next_back();
    script.join();

    // Step by step the second budget may outlive the script; then it is executed as a whole.
    let keys: Vec<_> = data(&mut server.client()).into_iter().map(|(_, key, _)| key).collect();
    match outcome.expect("a reply to EXEC") {
        Reply::Array(items) => assert_eq!((items.len(), keys.len()), (2, 2), "{keys:?}"),
        aborted => {
            assert!(aborted.error().is_some_and(|e| e.starts_with("EXECABORT ")), "{aborted:?}");
            assert!(keys.is_empty(), "{keys:?}");
        }
    }
    for client in [&mut halfway, &mut complete, &mut new, &mut watching, &mut stepwise] {
        assert_eq!(client.cmd(&["PING"]).text(), "PONG", "usable, and out of MULTI");
    }
}

fn a_budget_of_zero_passes_busy_on(flavor: Flavor) {
    let plays = [
        &["SET k v"][..],
        &["INCR n", "GET n", "PING"],
        &["SELECT 3", "SET k v"],
        &["MULTI", "SET k v", "EXEC", "PING"],
        &["WATCH k", "MULTI", "SET k v", "EXEC"],
        // One error each, not one per name.
        &["SUBSCRIBE a b c", "PING"],
        &["UNSUBSCRIBE", "UNSUBSCRIBE a b c", "PING"],
        &["SSUBSCRIBE a b c", "PSUBSCRIBE a* b*", "PING"],
        &["EVAL 'return 1' 0"],
        &["MULTI", "DISCARD", "CLIENT REPLY BAD"],
        &["GET"],
        // Valkey 9.1 does this while it is busy, and leaves out a BUSY or two; the others answer with one more.
        &["CLIENT REPLY SKIP", "PING", "PING"],
        &["CLIENT REPLY OFF", "PING", "PING", "CLIENT REPLY ON"],
    ];
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &["--max-wait", "0"]);
    for protocol in ["2", "3"] {
        let greeted = |address: &str| {
            let mut client = Client::connect(address);
            assert!(client.cmd(&["HELLO", protocol]).error().is_none());
            client
        };
        let mut old = [greeted(server.address()), greeted(proxy.address())];
        let script = make_busy(&server, ENDLESS);
        for lines in plays {
            let direct = to_the_end(&mut old[0], lines);
            let new = to_the_end(&mut greeted(server.address()), lines);
            for (client, direct) in [(&mut old[1], &direct), (&mut greeted(proxy.address()), &new)] {
                let begin = Instant::now();
                assert_eq!(to_the_end(client, lines), *direct, "RESP{protocol}: {lines:?}");
                // A busy server looks at its clients now and then, and they are sent one by one.
                assert!(begin.elapsed() < AT_ONCE * 2, "{lines:?} took {:?}", begin.elapsed());
            }
        }
        release(&server, script);
        assert_eq!(data(&mut server.client()), []);
        assert_eq!(old[1].cmd(&["INCRBY", "n", "0"]).integer(), 0);
        assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    }
}

/// All replies to these lines, however many they are: behind them stands a command that no server knows.
fn to_the_end(client: &mut Client, lines: &[&str]) -> String {
    client.send(&pipeline(&[lines, &["NOSUCH"]].concat()));
    let mut replies = String::new();
    while !replies.contains("NOSUCH") {
        replies.push_str(&show(&client.read_frame()));
    }
    replies
}

fn a_script_within_the_budget_is_waited_for(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = one_second_proxy(&server);
    let mut clients: Vec<_> = (0..10).map(|_| ready(proxy.address())).collect();
    let script = make_busy(&server, Duration::from_millis(700));
    for client in &mut clients {
        client.send_cmd(&["INCR", "n"]);
    }
    let mut replies: Vec<_> = clients.iter_mut().map(|client| client.read_reply().integer()).collect();
    replies.sort_unstable();
    assert_eq!(replies, (1..=10).collect::<Vec<_>>());
    script.join();
}

/// Below the threshold the server is silent, not BUSY, and there is nothing to give up with.
fn a_stall_costs_no_budget(flavor: Flavor) {
    let server = Server::builder(flavor).threshold(Duration::from_secs(5)).start();
    let proxy = start_proxy(&server, &["--max-wait", "200ms"]);
    let mut clients: Vec<_> = (0..5).map(|_| ready(proxy.address())).collect();
    let script = testkit::BusyScript::start(server.address(), Duration::from_millis(800));
    for client in &mut clients {
        client.send_cmd(&["INCR", "n"]);
    }
    for client in &mut clients {
        client.read_reply().integer();
    }
    script.join();
    assert_eq!(server.client().cmd(&["GET", "n"]).text(), "5");
}

/// A server from before 6.0 rejects AUTH (and knows no HELLO), so one that does is made up.
#[test]
fn nothing_runs_behind_an_identity_that_was_given_up() {
    const BUSY: &[u8] =
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    let busy = Arc::new(AtomicBool::new(true));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = ScriptedServer::start({
        let (busy, seen) = (Arc::clone(&busy), Arc::clone(&seen));
        move |_, stream| {
            let mut peer = Client::from(stream);
            // Ends with the connection.
            loop {
                let words = peer.read_frame();
                seen.lock().expect("a list").push(words);
                peer.send(if busy.load(Ordering::SeqCst) { BUSY } else { b"+OK\r\n" });
            }
        }
    });
    let proxy = Proxy::start(binary(), &server.url(), &["--max-wait", "300ms", "--busy-threshold", "100ms"]);
    for identity in ["SELECT 3", "AUTH pw", "AUTH user pw", "HELLO 3", "HELLO 3 AUTH user pw"] {
        let mut client = Client::connect(proxy.address());
        busy.store(true, Ordering::SeqCst);
        client.send(&pipeline(&[identity, "SET k v", "GET k"]));
        for what in [identity, "SET k v", "GET k"] {
            let reply = client.try_read_frame(Duration::from_secs(2));
            let sent = seen.lock().expect("a list").len();
            let told = format!("{identity}: the reply to {what}, after {sent} commands sent");
            assert_eq!(reply.as_deref().map(show), Some(show(BUSY)), "{told}");
        }
        busy.store(false, Ordering::SeqCst);
        assert!(client.cmd(&["PING"]).is_ok(), "{identity}: usable");
        assert!(client.cmd(&["SET", "later", "v"]).is_ok(), "{identity}: what comes later runs");
        let seen = std::mem::take(&mut *seen.lock().expect("a list"));
        assert!(seen.contains(&command(identity)), "{identity} reached the server");
        assert!(seen.contains(&encode(&["SET", "later", "v"])), "{identity}");
        assert!(!seen.contains(&command("SET k v")), "{identity}: what stood behind it was sent");
        assert!(!seen.contains(&command("GET k")), "{identity}: what stood behind it was sent");
    }
}
