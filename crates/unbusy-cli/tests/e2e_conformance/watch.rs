//! WATCH keeps its meaning: a transaction is executed exactly as if nobody else were there, or EXEC answers null.

use std::thread;
use std::time::Duration;

use testkit::{BusyScript, Client, Flavor, Reply, Server};

use crate::e2e::{make_busy, on_every_server, pipeline, ready, start_proxy};

const SCRIPT: Duration = Duration::from_millis(150);
const STEPS: usize = 5;

on_every_server!(
    busy_at_any_point,
    busy_at_any_point_in_resp3,
    in_one_piece,
    the_script_itself_wins_the_race,
    nothing_is_lost_among_competitors,
);

fn busy_at_any_point(flavor: Flavor) {
    busy_at_each_step(flavor, false);
}

fn busy_at_any_point_in_resp3(flavor: Flavor) {
    busy_at_each_step(flavor, true);
}

fn busy_at_each_step(flavor: Flavor, resp3: bool) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    for busy_at in 0..STEPS {
        server.client().cmd(&["SET", "n", "41"]);
        let mut client = ready(proxy.address());
        if resp3 {
            client.cmd(&["HELLO", "3"]);
        }
        let mut script = None;
        let mut step = |n: usize, client: &mut Client, words: &[&str]| {
            if n == busy_at {
                script = Some(make_busy(&server, SCRIPT));
            }
            client.cmd(words)
        };
        assert!(step(0, &mut client, &["WATCH", "n"]).is_ok());
        assert_eq!(step(1, &mut client, &["GET", "n"]).text(), "41");
        assert!(step(2, &mut client, &["MULTI"]).is_ok());
        assert_eq!(step(3, &mut client, &["SET", "n", "42"]).text(), "QUEUED");
        let outcome = step(4, &mut client, &["EXEC"]);
        script.expect("a busy server").join();
        let value = server.client().cmd(&["GET", "n"]).text();
        assert_whole(&outcome, &value, &format!("{flavor}, busy from step {busy_at} on"));
        assert_usable(&mut client);
    }
}

fn in_one_piece(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_proxy(&server, &[]);
    let lines = ["WATCH n", "GET n", "MULTI", "SET n 42", "EXEC"];
    for cut in 0..lines.len() {
        server.client().cmd(&["SET", "n", "41"]);
        let mut client = ready(proxy.address());
        // Some of it before, the rest in one piece while busy.
        client.exchange(&pipeline(&lines[..cut]), cut);
        let script = make_busy(&server, SCRIPT);
        let replies = client.exchange(&pipeline(&lines[cut..]), lines.len() - cut);
        script.join();
        let outcome = Reply::parse(replies.last().expect("a reply to EXEC"));
        let value = server.client().cmd(&["GET", "n"]).text();
        assert_whole(&outcome, &value, &format!("{flavor}, {cut} commands before"));
        assert_usable(&mut client);
    }
}

/// Executed as a whole, or null and nothing executed.
fn assert_whole(outcome: &Reply, value: &str, when: &str) {
    let executed = Reply::Array(vec![Reply::Simple("OK".into())]);
    match outcome {
        Reply::Null => assert_eq!(value, "41", "{when}: null, and executed all the same"),
        executed_or_not => {
            assert_eq!(*executed_or_not, executed, "{when}");
            assert_eq!(value, "42", "{when}: executed, and nothing to be seen of it");
        }
    }
}

/// Out of MULTI, and nothing watched any more.
fn assert_usable(client: &mut Client) {
    assert!(client.cmd(&["SET", "n", "1"]).is_ok());
    assert!(client.cmd(&["MULTI"]).is_ok());
    assert_eq!(client.cmd(&["INCR", "n"]).text(), "QUEUED");
    assert_eq!(client.cmd(&["EXEC"]).items(), [Reply::Integer(2)]);
}

/// The script that makes the server busy writes the watched key at its end.
fn the_script_itself_wins_the_race(flavor: Flavor) {
    // Far below the script, which is started once only.
    let server = Server::builder(flavor).threshold(Duration::from_millis(30)).start();
    let proxy = start_proxy(&server, &[]);
    // From step 1 on the watch is older than the write.
    for busy_at in 1..STEPS {
        server.client().cmd(&["SET", "n", "41"]);
        let mut client = ready(proxy.address());
        let steps = ["WATCH n", "GET n", "MULTI", "SET n wrong", "EXEC"];
        let before = client.exchange(&pipeline(&steps[..busy_at]), busy_at);
        assert_eq!(before[0], b"+OK\r\n");
        let script = BusyScript::start_with_key(server.address(), SCRIPT, "n");
        script.wait_until_busy(server.address());
        let replies = client.exchange(&pipeline(&steps[busy_at..]), STEPS - busy_at);
        assert_eq!(script.join().0, b":42\r\n");
        let outcome = Reply::parse(replies.last().expect("a reply to EXEC"));
        assert_eq!(outcome, Reply::Null, "{flavor}, busy from step {busy_at} on");
        assert_eq!(server.client().cmd(&["GET", "n"]).text(), "42", "{flavor}");
        assert_usable(&mut client);
    }
}

/// Several clients count with the loop that WATCH is made for, while scripts count too.
fn nothing_is_lost_among_competitors(flavor: Flavor) {
    const CLIENTS: usize = 4;
    const TIMES: usize = 15;
    const SCRIPTS: usize = 4;
    let server = Server::builder(flavor).threshold(Duration::from_millis(20)).start();
    let proxy = start_proxy(&server, &[]);
    server.client().cmd(&["SET", "n", "0"]);
    thread::scope(|scope| {
        for worker in 0..CLIENTS {
            let mut client = ready(proxy.address());
            scope.spawn(move || (0..TIMES).for_each(|_| count_up(&mut client, worker % 2 == 0)));
        }
        for _ in 0..SCRIPTS {
            BusyScript::start_with_key(server.address(), Duration::from_millis(60), "n").join();
        }
    });
    let total = server.client().cmd(&["GET", "n"]).text();
    assert_eq!(total, (CLIENTS * TIMES + SCRIPTS).to_string(), "{flavor}");
}

fn count_up(client: &mut Client, stepwise: bool) {
    loop {
        let read = client.exchange(&pipeline(&["WATCH n", "GET n"]), 2);
        let value: u64 = Reply::parse(&read[1]).text().parse().expect("a number");
        let set = format!("SET n {}", value + 1);
        let lines = ["MULTI", &set, "EXEC"];
        let outcome = if stepwise {
            lines.map(|line| client.exchange(&pipeline(&[line]), 1).remove(0)).into_iter().next_back()
        } else {
            client.exchange(&pipeline(&lines), 3).pop()
        };
        let outcome = outcome.expect("a reply to EXEC");
        if Reply::parse(&outcome) != Reply::Null {
            assert_eq!(outcome, b"*1\r\n+OK\r\n");
            return;
        }
    }
}
