//! Connections that their users drive themselves.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{BusyScript, Client, Flavor, Server, encode};
use unbusy_proxy::{Address, Config, Direct, Proxy};

const SCRIPT: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_millis(50);

fn config(server: &Server) -> Config {
    let mut config = Config { listen: Vec::new(), ..Config::default() };
    config.upstream.address = Address::Tcp { host: "127.0.0.1".into(), port: server.port() };
    config
}

fn proxy_to(server: &Server) -> Proxy {
    Proxy::start(config(server)).expect("a proxy without listeners")
}

fn connect(proxy: &Proxy) -> Direct {
    let connecting = proxy.connect_direct().expect("a seat");
    connecting.wait(Duration::MAX).expect("waits without end").expect("the server is there")
}

/// All that comes until it is as long as what is expected.
fn read(direct: &mut Direct, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        let came = direct.fill(None).expect("it lives");
        assert!(!came.is_empty(), "it was closed");
        all.extend(came);
        let count = came.len();
        direct.consume(count);
    }
    all
}

fn later(wait: Duration) -> Instant {
    Instant::now() + wait
}

fn is_over<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.expect_err("the time is over").kind(), ErrorKind::WouldBlock);
}

#[test]
fn commands_wait_within_the_calls() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy_to(&server);
        let mut direct = connect(&proxy);
        direct.send(&encode(&["INCR", "n"]), None).expect("it is open");
        assert_eq!(read(&mut direct, 4), b":1\r\n");
        let script = BusyScript::start(server.address(), SCRIPT);
        script.wait_until_busy(server.address());
        direct.send(&encode(&["INCR", "n"]), None).expect("nobody knows yet");
        while proxy.calm() != Some(Duration::ZERO) {
            is_over(direct.fill(Some(later(Duration::from_millis(1)))));
        }
        assert_eq!(read(&mut direct, 4), b":2\r\n");
        assert!(direct.buffered().is_empty());
    }
}

#[test]
fn what_has_come_is_read_in_no_time() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    is_over(direct.fill(Some(Instant::now())));
    direct.send(&encode(&["PING"]), None).expect("it is open");
    while !direct.is_readable() {
        thread::yield_now();
    }
    assert_eq!(direct.fill(Some(Instant::now())).expect("it has come"), b"+PONG\r\n");
}

#[test]
fn a_pipeline_larger_than_any_buffer_keeps_its_order() {
    const COMMANDS: usize = 20_000;
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let value = "v".repeat(500);
    let pipeline: Vec<u8> = (0..COMMANDS).flat_map(|_| encode(&["RPUSH", "list", &value])).collect();
    direct.send(&pipeline, None).expect("it is taken");
    let expected: Vec<u8> = (1..=COMMANDS).flat_map(|n| format!(":{n}\r\n").into_bytes()).collect();
    assert_eq!(read(&mut direct, expected.len()), expected);
}

#[test]
fn replies_larger_than_any_buffer_do_not_stop_a_pipeline() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    let value = "v".repeat(100_000);
    direct.send(&encode(&["SET", "k", &value]), None).expect("it is open");
    read(&mut direct, 5);
    let pipeline: Vec<u8> = (0..300).flat_map(|_| encode(&["GET", "k"])).collect();
    direct.send(&pipeline, None).expect("it is taken");
    let reply = format!("$100000\r\n{value}\r\n").into_bytes();
    let all = read(&mut direct, 300 * reply.len());
    assert!(all.chunks(reply.len()).all(|one| one == reply));
}

#[test]
fn a_budget_ends_while_its_user_waits() {
    let server = Server::start(Flavor::Redis70);
    let proxy = Proxy::start(Config { max_wait: SOON, ..config(&server) }).expect("a proxy");
    let mut direct = connect(&proxy);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let begun = Instant::now();
    direct.send(&encode(&["INCR", "n"]), None).expect("it is taken");
    assert!(read(&mut direct, 1).starts_with(b"-BUSY "));
    assert!((SOON..SCRIPT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn a_budget_ends_also_for_a_user_who_looks_now_and_then() {
    let server = Server::start(Flavor::Redis70);
    let proxy = Proxy::start(Config { max_wait: 4 * SOON, ..config(&server) }).expect("a proxy");
    let mut direct = connect(&proxy);
    let script = BusyScript::start(server.address(), 2 * SCRIPT);
    script.wait_until_busy(server.address());
    let begun = Instant::now();
    direct.send(&encode(&["INCR", "n"]), None).expect("nobody knows yet");
    let reply = loop {
        match direct.fill(Some(later(SOON / 5))) {
            Ok(reply) => break reply,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    assert!(reply.starts_with(b"-BUSY "));
    assert!((4 * SOON..2 * SCRIPT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn what_is_held_when_its_user_leaves_is_not_executed() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy_to(&server);
        let [mut leaver, mut ender, mut waiter] = [(); 3].map(|()| connect(&proxy));
        let script = BusyScript::start(server.address(), SCRIPT);
        script.wait_until_busy(server.address());
        for direct in [&mut leaver, &mut ender] {
            is_over(
                direct
                    .send(&encode(&["INCR", "left"]), Some(later(SOON)))
                    .and_then(|()| direct.fill(Some(later(SOON)))),
            );
        }
        drop(leaver);
        ender.ender().hang_up();
        waiter.send(&encode(&["INCR", "n"]), None).expect("it is taken");
        assert_eq!(read(&mut waiter, 4), b":1\r\n");
        assert_eq!(ender.fill(None).map(<[u8]>::len).unwrap_or_default(), 0);
        assert_eq!(server.client().cmd(&["EXISTS", "left"]).integer(), 0, "{flavor}");
    }
}

#[test]
fn threads_are_answered_together() {
    let server = Server::start(Flavor::Valkey91);
    let proxy = proxy_to(&server);
    let mut connections: Vec<Direct> = (0..100).map(|_| connect(&proxy)).collect();
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let begun = Instant::now();
    let mut replies: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .map(|direct| {
                scope.spawn(|| {
                    direct.send(&encode(&["INCR", "n"]), None).expect("it is taken");
                    let reply = String::from_utf8(read(direct, 4)).expect("a number");
                    reply[1..].trim_end().parse().expect("a number")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it was answered")).collect()
    });
    assert!(begun.elapsed() < 2 * SCRIPT, "{:?}", begun.elapsed());
    replies.sort_unstable();
    assert_eq!(replies, (1..=100).collect::<Vec<_>>());
}

#[test]
fn one_that_is_left_alone_keeps_nobody_waiting() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut alone: Vec<Direct> = (0..5).map(|_| connect(&proxy)).collect();
    let mut direct = connect(&proxy);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let begun = Instant::now();
    for one in &mut alone {
        is_over(
            one.send(&encode(&["INCR", "n"]), Some(later(SOON))).and_then(|()| one.fill(Some(later(SOON)))),
        );
    }
    direct.send(&encode(&["ECHO", "a"]), None).expect("it is taken");
    assert_eq!(read(&mut direct, 7), b"$1\r\na\r\n");
    assert!(begun.elapsed() < SCRIPT + Duration::from_millis(300), "{:?}", begun.elapsed());
    // What they sent is still theirs.
    for (one, reply) in alone.iter_mut().zip(1..) {
        assert_eq!(read(one, 4), format!(":{reply}\r\n").as_bytes());
    }
}

#[test]
fn it_becomes_a_socket_in_the_middle() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    direct.send(&encode(&["RPUSH", "list", "a"]), None).expect("it is open");
    assert_eq!(direct.fill(None).expect("it lives"), b":1\r\n");
    direct.consume(1);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    direct.send(&encode(&["RPUSH", "list", "b"]), None).expect("nobody knows yet");
    assert_eq!(direct.buffered(), b"1\r\n");
    is_over(direct.send(&vec![b'\n'; 100_000], Some(later(SOON))));
    is_over(direct.send(&encode(&["RPUSH", "list", "c"]), Some(later(SOON))));
    let mut client = Client::from(direct.into_socket().expect("a worker"));
    client.send_cmd(&["RPUSH", "list", "d"]);
    // The rest of the first reply, which begins with what was taken.
    let rest = b"1\r\n:2\r\n:3\r\n:4\r\n";
    assert_eq!(client.read_exact(rest.len()), rest);
}

#[test]
fn its_user_looks_for_signals_after_it_was_awake() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    direct.look_for_signals();
    direct.send(&encode(&["INCR", "n"]), None).expect("nobody knows yet");
    let mut looked = 0;
    let reply = loop {
        match direct.fill(None) {
            Ok(reply) => break reply,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
        looked += 1;
    };
    assert_eq!(reply, b":1\r\n");
    assert!(looked > 3, "{looked}");
    direct.consume(4);
    // Then nothing wakes it.
    direct.send(&encode(&["BLPOP", "nothing", "0.5"]), None).expect("it is open");
    assert_eq!(direct.fill(None).expect_err("it may have been woken before").kind(), ErrorKind::Interrupted);
    assert_eq!(direct.fill(None).expect("it sleeps until then"), b"*-1\r\n");
}

#[test]
fn a_server_that_closes_is_seen() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    direct.send(&encode(&["QUIT"]), None).expect("it is open");
    assert_eq!(read(&mut direct, 5), b"+OK\r\n");
    assert!(direct.fill(None).expect("it is no error").is_empty());
    assert_eq!(direct.send(b"PING\r\n", None).expect_err("it is closed").kind(), ErrorKind::BrokenPipe);
}

#[test]
fn it_ends_with_its_proxy() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    proxy.stopper().stop_now();
    proxy.join();
    let error = direct.send(b"PING\r\n", None).expect_err("the proxy has ended");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    direct.into_socket().expect_err("there is no worker");
}

#[test]
fn one_that_is_forgotten_closes_its_socket_and_no_more() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let direct = connect(&proxy);
    let mut other = Client::connect(server.address());
    let connected = |other: &mut Client| other.cmd(&["CLIENT", "LIST"]).text().lines().count();
    let before = connected(&mut other);
    direct.forget();
    while connected(&mut other) == before {}
}

#[test]
fn it_can_be_ended_while_its_user_waits() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    direct.send(&encode(&["BLPOP", "nothing", "0"]), None).expect("it is open");
    let ender = direct.ender();
    let waits = thread::spawn(move || direct.fill(None).map(<[u8]>::len));
    ender.hang_up();
    assert_eq!(waits.join().expect("it ends").expect("it is no error"), 0);
}

#[test]
fn a_subscription_is_known() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut direct = connect(&proxy);
    assert!(!direct.is_subscribed());
    direct.send(&encode(&["SUBSCRIBE", "news"]), None).expect("it is open");
    assert!(direct.is_subscribed());
    direct.fill(None).expect("it lives");
    assert!(direct.is_subscribed());
}
