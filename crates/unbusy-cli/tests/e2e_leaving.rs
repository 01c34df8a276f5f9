//! A client that leaves while it is held leaves nothing behind: its commands are never executed, and those who wait
//! behind it go on.
#[path = "e2e/mod.rs"]
mod e2e;

use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use testkit::{BusyScript, Flavor, Proxy, Server, encode};

use e2e::{
    ENDLESS, Wire, command, data, make_busy, on_every_server, pipeline, ready, release, show, start_proxy,
    wait_until,
};

/// One that ends by itself.
const SHORT: Duration = Duration::from_millis(500);
/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(20);
/// How soon after the script's end those who stayed have their answers.
const PROMPT: Duration = Duration::from_millis(200);

on_every_server!(
    leavers_are_not_executed_and_the_others_are,
    every_kind_of_request,
    in_the_middle_of_a_pipeline,
    in_the_middle_of_a_busy_stream,
    all_leave,
    leaders_leave_one_after_the_other,
    leaving_in_a_stall,
    leaving_a_pipeline_in_a_stall,
    leaving_while_a_script_of_ones_own_runs,
    leaving_while_the_proxy_ends,
    half_closing_is_not_leaving,
);

#[derive(Debug, Clone, Copy)]
enum Exit {
    Close,
    Reset,
    HalfCloseThenClose,
}

const EXITS: [Exit; 3] = [Exit::Close, Exit::Reset, Exit::HalfCloseThenClose];

/// A proxy that asks the server nothing of its own, so that each connection to it is a client's.
fn start_quiet_proxy(server: &Server) -> Proxy {
    start_proxy(server, &["--busy-threshold", "100ms"])
}

fn leave(stream: TcpStream, exit: Exit) {
    match exit {
        Exit::Close => {}
        Exit::Reset => set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket"),
        Exit::HalfCloseThenClose => {
            stream.shutdown(Shutdown::Write).expect("a socket");
            thread::sleep(A_WHILE);
        }
    }
    drop(stream);
}

/// A connection that has sent something and is held.
struct Held {
    wire: Wire,
    stream: TcpStream,
}

impl Held {
    fn new(proxy: &Proxy, bytes: &[u8]) -> Self {
        let wire = Wire::connect(proxy.address());
        let mut held = Self { stream: wire.stream(), wire };
        held.hold(bytes);
        held
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.wire.take();
        self.wire.send(bytes);
        let early = self.wire.wait_for(A_WHILE, |seen| !seen.is_empty());
        assert!(!early, "answered while the server is busy: {}", show(&self.wire.seen));
    }

    fn leave(self, exit: Exit) {
        drop(self.wire);
        leave(self.stream, exit);
    }
}

/// All connections but that of the asking client are gone from the server, or are those of clients that stayed. What
/// was to come of those that left has come then.
fn wait_for_connections(server: &Server, stayed: usize) {
    let mut control = server.client();
    wait_until("the server has no connection of a client that left", || {
        let list = control.cmd(&["CLIENT", "LIST"]).text();
        list.lines().count() <= stayed + 1
    });
}

/// The proxy has closed what was open for a client that left, while the server is still busy: from now on no try of its
/// command can be accepted.
fn wait_until_let_go(proxy: &Proxy, alone: usize) {
    wait_until("the proxy lets go of the client", || proxy.open_files() <= alone);
}

fn leavers_are_not_executed_and_the_others_are(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    let script = make_busy(&server, ENDLESS);
    // The first one is the leader, and it leaves.
    let mut stayers = Vec::new();
    for exit in EXITS {
        let leaver = Held::new(&proxy, &command("INCR left"));
        stayers.push(Held::new(&proxy, &command("INCR stayed")));
        leaver.leave(exit);
    }
    let end = release(&server, script);
    for held in &mut stayers {
        assert!(held.wire.wait_for(PROMPT, |seen| seen.ends_with(b"\r\n")), "the queue goes on");
    }
    assert!(end.elapsed() < PROMPT, "{:?} after the end", end.elapsed());
    let mut replies: Vec<_> = stayers.iter_mut().map(|held| show(&held.wire.take())).collect();
    replies.sort();
    assert_eq!(replies, [":1\\r\\n", ":2\\r\\n", ":3\\r\\n"]);
    wait_for_connections(&server, stayers.len());
    assert_eq!(keys(&server), ["stayed"]);
}

fn keys(server: &Server) -> Vec<String> {
    data(&mut server.client()).into_iter().map(|(_, key, _)| key).collect()
}

fn every_kind_of_request(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    let requests = [
        pipeline(&["SET k1 v"]),
        b"SET k2 v\r\n".to_vec(),
        pipeline(&["SET k3 v", "INCR n3", "INCR n3"]),
        pipeline(&["EVAL 'return redis.call(\"SET\", \"k5\", \"v\")' 0"]),
        pipeline(&["BLPOP q 0"]),
        pipeline(&["SUBSCRIBE channel"]),
        pipeline(&["INCR n8", "SELECT 1", "INCR n8"]),
        pipeline(&["CLIENT REPLY OFF", "SET k9 v", "SET k10 v"]),
        // A command that is not complete.
        [command("SET k11 v"), b"*3\r\n$3\r\nSET\r\n$3\r\nk12\r\n$5\r\nva".to_vec()].concat(),
        pipeline(&[&format!("SET k13 {}", "x".repeat(100_000))]),
    ];
    for exit in EXITS {
        let script = make_busy(&server, ENDLESS);
        let held: Vec<_> = requests.iter().map(|bytes| Held::new(&proxy, bytes)).collect();
        // Transactions: the client already has some of the replies.
        let mut wires: Vec<_> = [
            &["MULTI", "SET k20 v", "INCR n20"][..],
            &["MULTI", "SET k21 v", "INCR n21", "EXEC"],
            &["WATCH k22", "MULTI", "SET k22 v"],
            &["HELLO 3", "SET k23 v"],
        ]
        .iter()
        .map(|lines| {
            let mut wire = Wire::connect(proxy.address());
            wire.send(&pipeline(lines));
            wire.wait_for(A_WHILE, |_| false);
            wire
        })
        .collect();
        let mut stayer = Held::new(&proxy, &command("INCR stayed"));
        for held in held {
            held.leave(exit);
        }
        for wire in wires.drain(..) {
            let stream = wire.stream();
            drop(wire);
            leave(stream, exit);
        }
        release(&server, script);
        assert!(stayer.wire.wait_for(PROMPT, |seen| seen.starts_with(b":")), "{exit:?}: the queue goes on");
        wait_for_connections(&server, 1);
        assert_eq!(keys(&server), ["stayed"], "{exit:?}");
        let mut client = server.client();
        assert_eq!(client.cmd(&["RPUSH", "q", "x"]).integer(), 1);
        assert_eq!(client.cmd(&["LLEN", "q"]).integer(), 1, "{exit:?}: nobody waits for q");
        assert_eq!(client.cmd(&["PUBLISH", "channel", "x"]).integer(), 0, "{exit:?}: nobody listens");
        assert!(client.cmd(&["FLUSHALL"]).is_ok());
    }
}

/// Some of its commands have been executed before, some are rejected, some have not been sent.
fn in_the_middle_of_a_pipeline(flavor: Flavor) {
    let server = Server::start(flavor);
    for exit in EXITS {
        let proxy = start_quiet_proxy(&server);
        let alone = proxy.open_files();
        assert_eq!(server.client().cmd(&["INCR", "n"]).integer(), 1);
        let wire = Wire::connect(proxy.address());
        let mut held = Held { stream: wire.stream(), wire };
        held.wire.send(&pipeline(&["INCR n", "MULTI", "INCR n"]));
        assert!(held.wire.wait_for(e2e::SOON, |seen| seen.ends_with(b"+QUEUED\r\n")));
        let script = make_busy(&server, ENDLESS);
        held.wire.take();
        held.wire.send(&pipeline(&["EXEC", "INCR n", "INCR n", "MULTI", "INCR n", "EXEC", "INCR n"]));
        proxy.wait_log("commands are held", e2e::SOON);
        held.leave(exit);
        wait_until_let_go(&proxy, alone);
        release(&server, script);
        wait_for_connections(&server, 0);
        assert_eq!(server.client().cmd(&["GET", "n"]).text(), "2", "{exit:?}");
        assert!(server.client().cmd(&["FLUSHALL"]).is_ok());
    }
}

/// A client streams and BUSY strikes; what it has no reply for when it leaves is never executed.
fn in_the_middle_of_a_busy_stream(flavor: Flavor) {
    const COUNT: usize = 200_000;
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    let alone = proxy.open_files();
    let wire = Wire::connect(proxy.address());
    let mut held = Held { stream: wire.stream(), wire };
    let mut sender = held.wire.sender();
    let stream = thread::spawn(move || sender.send(&command("INCR n").repeat(COUNT)));
    assert!(held.wire.wait_for(e2e::SOON, |seen| seen.len() > 1000), "the stream flows");
    let script = make_busy(&server, ENDLESS);
    // All that was executed before has been answered when nothing comes any more.
    let mut before = 0;
    while held.wire.seen.len() > before {
        before = held.wire.seen.len();
        held.wire.wait_for(A_WHILE * 3, |seen| seen.len() > before);
    }
    let executed = held.wire.seen.split(|&b| b == b':').count() - 1;
    assert!(executed < COUNT, "held in the middle");
    held.leave(Exit::Reset);
    // Its last write fails, or it had been taken as a whole.
    stream.join().expect("the sender");
    wait_until_let_go(&proxy, alone);
    release(&server, script);
    wait_for_connections(&server, 0);
    assert_eq!(server.client().cmd(&["GET", "n"]).text(), executed.to_string());
}

fn all_leave(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    let script = make_busy(&server, ENDLESS);
    let held: Vec<_> = (0..10).map(|_| Held::new(&proxy, &command("INCR left"))).collect();
    for held in held {
        held.leave(Exit::Close);
    }
    release(&server, script);
    wait_for_connections(&server, 0);
    // Whoever comes now is not in their queue.
    let begin = Instant::now();
    assert_eq!(ready(proxy.address()).cmd(&["INCR", "new"]).integer(), 1);
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
    assert_eq!(keys(&server), ["new"]);
}

/// Whoever leads next leaves next, during the whole script.
fn leaders_leave_one_after_the_other(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    let script = make_busy(&server, ENDLESS);
    let mut queue: Vec<_> = (0..8).map(|_| Held::new(&proxy, &command("INCR left"))).collect();
    let mut stayer = Held::new(&proxy, &command("INCR stayed"));
    for (n, held) in queue.drain(..).enumerate() {
        held.leave(EXITS[n % EXITS.len()]);
        assert!(stayer.wire.seen.is_empty());
    }
    let end = release(&server, script);
    assert!(stayer.wire.wait_for(PROMPT, |seen| seen == b":1\r\n"), "the one behind all of them");
    assert!(end.elapsed() < PROMPT);
    wait_for_connections(&server, 1);
    assert_eq!(keys(&server), ["stayed"]);
}

/// The server is silent and not yet BUSY. What has been sent may be executed; what waits at the gate is not.
fn leaving_in_a_stall(flavor: Flavor) {
    const CLIENTS: usize = 30;
    let server = Server::builder(flavor).threshold(Duration::from_secs(5)).start();
    let proxy = start_proxy(&server, &["--busy-threshold", "5s"]);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| ready(proxy.address())).collect();
    let script = BusyScript::start(server.address(), SHORT * 2);
    // When a command through the proxy meets silence, no lease from before it runs any more.
    let mut direct = server.client();
    for (client, patience) in [(&mut direct, 200), (&mut clients[0], 100)] {
        client.send_cmd(&["INCR", "n"]);
        assert_eq!(client.try_read_frame(Duration::from_millis(patience)), None, "a stall");
    }
    for client in &mut clients[1..] {
        client.send_cmd(&["INCR", "n"]);
    }
    thread::sleep(A_WHILE);
    clients.clear();
    script.join();
    drop(direct);
    wait_for_connections(&server, 0);
    let executed = server.client().cmd(&["INCRBY", "n", "0"]).integer();
    assert!(executed <= 1 + 6, "{executed} of {CLIENTS} ghosts");
}

/// What stands behind a command that is on its way to a silent server waits in the proxy.
fn leaving_a_pipeline_in_a_stall(flavor: Flavor) {
    let server = Server::builder(flavor).threshold(Duration::from_secs(5)).start();
    let proxy = start_proxy(&server, &["--busy-threshold", "5s"]);
    let script = BusyScript::start(server.address(), SHORT * 2);
    let mut direct = server.client();
    direct.send_cmd(&["PING"]);
    assert_eq!(direct.try_read_frame(Duration::from_millis(200)), None, "a stall");
    let held = Held::new(&proxy, &command("INCR n").repeat(20));
    held.leave(Exit::Reset);
    script.join();
    drop(direct);
    wait_for_connections(&server, 0);
    let executed = server.client().cmd(&["INCRBY", "n", "0"]).integer();
    assert!(executed <= 1, "{executed} ghosts");
}

/// A script that has begun runs to its end, as it does without a proxy; what stands behind it does not. (A client that
/// closes without a reset may have closed its sending half only, and then it does.)
fn leaving_while_a_script_of_ones_own_runs(flavor: Flavor) {
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    let millis = SHORT.as_millis().to_string();
    let script = encode(&["EVAL", testkit::busy_lua(), "1", "ran", &millis]);
    let leaver = Held::new(&proxy, &[script, command("INCR left")].concat());
    testkit::wait_until_busy(server.address());
    let mut stayer = Held::new(&proxy, &command("INCR stayed"));
    leaver.leave(Exit::Reset);
    assert!(stayer.wire.wait_for(e2e::SOON, |seen| seen == b":1\r\n"));
    wait_for_connections(&server, 1);
    assert_eq!(keys(&server), ["ran", "stayed"]);
}

/// A proxy that was asked to end reads its clients no more, but sees that they leave.
fn leaving_while_the_proxy_ends(flavor: Flavor) {
    for exit in EXITS {
        let server = Server::start(flavor);
        let mut proxy = start_quiet_proxy(&server);
        let script = make_busy(&server, ENDLESS);
        let leaver = Held::new(&proxy, &command("INCR left"));
        let mut stayer = Held::new(&proxy, &command("INCR stayed"));
        proxy.terminate();
        proxy.wait_log("SIGTERM", e2e::SOON);
        leaver.leave(exit);
        release(&server, script);
        assert!(stayer.wire.wait_for(e2e::SOON, |seen| seen == b":1\r\n"), "{exit:?}");
        assert!(proxy.wait_exit(e2e::SOON).success());
        assert_eq!(keys(&server), ["stayed"], "{exit:?}");
    }
}

/// A client that says that it will send nothing more, behind more commands than the proxy reads at once.
fn half_closing_is_not_leaving(flavor: Flavor) {
    const COUNT: usize = 3_000;
    let server = Server::start(flavor);
    let proxy = start_quiet_proxy(&server);
    for _ in 0..20 {
        let mut wire = Wire::connect(proxy.address());
        assert!(wire.send(&command("INCR n").repeat(COUNT)));
        wire.half_close();
        let answers = |seen: &[u8]| seen.split(|&b| b == b':').count() - 1;
        let answered = wire.wait_for(e2e::SOON, |seen| answers(seen) == COUNT);
        assert!(answered, "{} answers", answers(&wire.seen));
    }
}
