//! Connections that an event loop drives, with a loop that has one connection.

use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use testkit::{BusyScript, Client, Flavor, ScriptedServer, Server, encode};
use unbusy_proxy::{Address, Config, Polled, Proxy};

const SCRIPT: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(20);

fn config(port: u16) -> Config {
    let mut config = Config { listen: Vec::new(), ..Config::default() };
    config.upstream.address = Address::Tcp { host: "127.0.0.1".into(), port };
    config
}

fn proxy_to(server: &Server) -> Proxy {
    Proxy::start(config(server.port())).expect("a proxy without listeners")
}

fn port(server: &ScriptedServer) -> u16 {
    server.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// One connection, and what a loop knows of it.
struct Loop {
    polled: Polled,
    received: Vec<u8>,
    takes: bool,
    patience: Duration,
    waits_since: Option<Instant>,
    has_ended: bool,
}

impl Loop {
    fn connect(proxy: &Proxy) -> Self {
        let connecting = proxy.connect_direct().expect("a seat");
        let direct = connecting.wait(Duration::MAX).expect("waits without end").expect("the server is there");
        Self {
            polled: direct.into(),
            received: Vec::new(),
            takes: true,
            patience: PATIENCE,
            waits_since: None,
            has_ended: false,
        }
    }

    fn send(&mut self, words: &[&str]) {
        self.polled.send(&encode(words)).expect("it lives");
    }

    fn is_lent(&self) -> bool {
        let watched = self.polled.watch().expect("it lives").socket.as_raw_fd();
        watched != self.polled.server_fd().expect("it lives").as_raw_fd()
    }

    fn unsent(&self) -> usize {
        self.polled.watch().expect("it lives").unsent
    }

    /// Does what it is called for next, if that is soon.
    fn turn(&mut self) {
        let watch = self.polled.watch().expect("it lives");
        if watch.waits {
            if self.waits_since.get_or_insert_with(Instant::now).elapsed() > self.patience {
                return self.polled.lend().expect("a worker");
            }
        } else {
            self.waits_since = None;
        }
        if watch.has_more && self.takes {
            return self.receive();
        }
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.takes || watch.unsent > 0);
        interest.set(PollFlags::OUT, watch.writes);
        let mut fds = [PollFd::from_borrowed_fd(watch.socket, interest)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 })).expect("no signals");
        let seen = fds[0].revents();
        match (seen.is_empty(), self.takes && seen.contains(PollFlags::IN)) {
            (true, _) => {}
            (false, true) => self.receive(),
            (false, false) => self.polled.turn().expect("it lives"),
        }
    }

    fn receive(&mut self) {
        let received = &mut self.received;
        match self.polled.receive(|bytes| {
            received.extend(bytes);
            bytes.is_empty()
        }) {
            Ok(has_ended) => self.has_ended = has_ended,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    fn turn_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < LIMIT, "{what}, but {:?}", self.polled.watch());
            self.turn();
        }
    }

    /// So many bytes.
    fn read(&mut self, count: usize) -> Vec<u8> {
        self.turn_until("an answer comes", |this| this.received.len() >= count || this.has_ended);
        self.received.drain(..count).collect()
    }
}

#[test]
fn a_worker_has_it_while_it_is_held() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy_to(&server);
        let mut one = Loop::connect(&proxy);
        // That it is busy needs no patience to be known.
        one.patience = LIMIT;
        one.send(&["INCR", "n"]);
        assert_eq!(one.read(4), b":1\r\n");
        assert!(!one.is_lent() && one.polled.is_calm());
        let script = BusyScript::start(server.address(), SCRIPT);
        script.wait_until_busy(server.address());
        one.send(&["INCR", "n"]);
        one.turn_until("it is lent", Loop::is_lent);
        assert_eq!(one.read(4), b":2\r\n");
        one.turn_until("it is given back", |one| !one.is_lent());
        one.send(&["INCR", "n"]);
        assert!(one.polled.is_calm());
        assert_eq!(one.read(4), b":3\r\n");
        assert!(!one.is_lent());
    }
}

#[test]
fn nothing_is_overtaken_when_it_changes_hands() {
    const COMMANDS: usize = 3_000;
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    for number in 1..=COMMANDS {
        let element = number.to_string();
        one.send(&["RPUSH", "list", &element]);
        match number % 7 {
            0 | 3 => one.polled.lend().expect("a worker"),
            1 | 4 => one.turn(),
            _ => {}
        }
        if number % 50 == 0 {
            one.turn_until("it is given back", |one| !one.is_lent());
        }
    }
    let expected: Vec<u8> = (1..=COMMANDS).flat_map(|n| format!(":{n}\r\n").into_bytes()).collect();
    assert_eq!(one.read(expected.len()), expected);
    let list = server.client().cmd(&["LRANGE", "list", "0", "-1"]);
    let elements: Vec<String> = list.items().iter().map(testkit::Reply::text).collect();
    assert_eq!(elements, (1..=COMMANDS).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Its end of the socket may stay unread for long.
#[test]
fn what_is_sent_on_its_way_back_waits_for_no_reader() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    let mut other = server.client();
    other.cmd(&["SET", "n", "0"]);
    for number in 1..=500 {
        one.polled.lend().expect("a worker");
        (0..number % 50 * 100).for_each(|_| std::hint::spin_loop());
        one.send(&["SET", "n", &number.to_string()]);
        let begun = Instant::now();
        while other.cmd(&["GET", "n"]).text() != number.to_string() {
            assert!(begun.elapsed() < LIMIT, "{number} is not executed");
        }
    }
    let expected = b"+OK\r\n".repeat(500);
    assert_eq!(one.read(expected.len()), expected);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_watched_is_not_closed_before_the_loop_has_asked() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    one.polled.lend().expect("a worker");
    let watched = one.polled.watch().expect("it lives").socket.as_raw_fd();
    let open = || std::fs::read_link(format!("/proc/self/fd/{watched}")).ok();
    let before = open();
    while one.is_lent() {
        one.receive();
    }
    assert_eq!(open(), before);
    one.send(&["PING"]);
    assert_eq!(one.read(7), b"+PONG\r\n");
    assert_ne!(open(), before);
}

#[test]
fn it_stays_lent_while_something_is_unanswered() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    one.send(&["BLPOP", "list", "0"]);
    one.polled.lend().expect("a worker");
    let until = Instant::now() + SOON;
    one.turn_until("a while is over", |_| Instant::now() > until);
    assert!(one.is_lent());
    server.client().cmd(&["RPUSH", "list", "a"]);
    assert_eq!(one.read(21), b"*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    one.turn_until("it is given back", |one| !one.is_lent());
}

/// What the socket does not take any more when the worker has just left it stays behind what it has taken.
#[test]
fn a_large_command_is_not_overtaken_either() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    for number in 0..300 {
        let value = format!("{number:03}").repeat(200_000);
        one.polled.lend().expect("a worker");
        (0..number % 30 * 200).for_each(|_| std::hint::spin_loop());
        one.send(&["SET", "large", &value]);
        one.send(&["GETRANGE", "large", "599997", "-1"]);
        assert_eq!(one.read(14), format!("+OK\r\n$3\r\n{number:03}\r\n").as_bytes());
    }
}

#[test]
fn one_that_waits_for_another_ones_answer_waits_for_no_more() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let [mut first, mut second, mut third] = [(); 3].map(|()| Loop::connect(&proxy));
    let mut others = [(); 5].map(|()| Loop::connect(&proxy));
    first.send(&["INCR", "n"]);
    second.send(&["INCR", "n"]);
    for other in &mut others {
        other.send(&["INCR", "m"]);
        assert!(other.polled.watch().expect("it lives").waits, "nobody knows yet whether the server is open");
    }
    assert_eq!(first.read(4), b":1\r\n");
    third.send(&["INCR", "n"]);
    assert!(third.polled.is_calm(), "nobody waits until their loops find time for them");
    assert_eq!(third.read(4), b":2\r\n");
    second.polled.turn().expect("it lives");
    assert!(second.polled.is_calm());
    assert_eq!(second.read(4), b":3\r\n");
    // Until nothing is known of the server any more.
    thread::sleep(4 * SOON);
    first.send(&["INCR", "n"]);
    second.send(&["INCR", "n"]);
    second.turn_until("it is lent", Loop::is_lent);
    assert_eq!(first.read(4), b":4\r\n");
    assert_eq!(second.read(4), b":5\r\n");
}

#[test]
fn one_whose_loop_is_busy_keeps_nobody_waiting() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut alone: Vec<Loop> = (0..5).map(|_| Loop::connect(&proxy)).collect();
    let mut one = Loop::connect(&proxy);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    for other in &mut alone {
        other.send(&["INCR", "n"]);
        let until = Instant::now() + SOON;
        other.turn_until("a while is over", |_| Instant::now() > until);
    }
    one.send(&["ECHO", "a"]);
    assert_eq!(one.read(7), b"$1\r\na\r\n");
    let (_, ended) = script.join();
    assert!(ended.elapsed() < Duration::from_millis(300), "{:?}", ended.elapsed());
    let mut replies: Vec<Vec<u8>> = alone.iter_mut().map(|other| other.read(4)).collect();
    replies.sort();
    assert_eq!(replies, [b":1\r\n", b":2\r\n", b":3\r\n", b":4\r\n", b":5\r\n"]);
}

#[test]
fn who_sends_a_pipeline_need_not_read_before_all_is_sent() {
    const COMMANDS: usize = 20_000;
    let server = Server::start(Flavor::Redis70);
    let value = "v".repeat(500);
    let reply = format!("$500\r\n{value}\r\n").into_bytes();
    for is_busy in [false, true] {
        let proxy = proxy_to(&server);
        let mut one = Loop::connect(&proxy);
        one.send(&["SET", "k", &value]);
        one.read(5);
        let script = is_busy.then(|| BusyScript::start(server.address(), SCRIPT));
        if let Some(script) = &script {
            script.wait_until_busy(server.address());
        }
        one.takes = false;
        for _ in 0..COMMANDS {
            one.send(&["SET", "k", &value, "GET"]);
        }
        one.turn_until("all is sent", |one| one.unsent() == 0);
        one.takes = true;
        let all = one.read(COMMANDS * reply.len());
        assert!(all.chunks(reply.len()).all(|one| one == reply));
    }
}

#[test]
fn who_reads_slowly_is_given_no_more_than_he_takes() {
    const BYTES: usize = 50_000_000;
    let server = Server::start(Flavor::Redis70);
    let mut client = server.client();
    client.cmd(&["SETRANGE", "big", &(BYTES - 1).to_string(), "x"]);
    let whole = client.exchange(&encode(&["GET", "big"]), 1).concat();
    let proxy = proxy_to(&server);
    for lends in [false, true] {
        let mut one = Loop::connect(&proxy);
        one.send(&["GET", "big"]);
        // Until there is more than is taken at once.
        thread::sleep(SOON);
        let begun = Instant::now();
        while one.received.len() < whole.len() {
            assert!(begun.elapsed() < LIMIT, "{} of {}", one.received.len(), whole.len());
            let before = one.received.len();
            one.turn();
            assert!(one.received.len() - before < 1_000_000, "{}", one.received.len() - before);
            if lends && one.received.len() > before && !one.is_lent() {
                one.polled.lend().expect("a worker");
            }
        }
        assert!(one.received == whole);
    }
}

#[test]
fn a_server_that_takes_nothing_is_watched_by_a_worker() {
    let reads = Arc::new(Barrier::new(2));
    let server = ScriptedServer::start({
        let reads = Arc::clone(&reads);
        move |_, stream| {
            let mut peer = Client::from(stream);
            if peer.read_frame().ends_with(b"$4\r\nPING\r\n") {
                peer.send(b"+PONG\r\n");
                reads.wait();
                peer.read_frame();
                peer.send(b"+OK\r\n");
                peer.read_frame();
                peer.send(b"$-1\r\n");
                peer.read_to_end(LIMIT);
            }
        }
    });
    let proxy = Proxy::start(config(port(&server))).expect("a proxy");
    let mut one = Loop::connect(&proxy);
    one.send(&["PING"]);
    assert_eq!(one.read(7), b"+PONG\r\n");
    one.send(&["SET", "big", &"x".repeat(30_000_000)]);
    one.send(&["GET", "n"]);
    assert!(one.is_lent());
    reads.wait();
    assert_eq!(one.read(10), b"+OK\r\n$-1\r\n");
    one.turn_until("it is given back", |one| !one.is_lent());
}

/// Before it is known whether its client may send it, only its beginning is read.
#[test]
fn the_first_command_may_be_large() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    one.send(&["SET", "big", &"x".repeat(1_000_000)]);
    assert!(!one.polled.is_calm());
    assert_eq!(one.read(5), b"+OK\r\n");
    assert_eq!(server.client().cmd(&["STRLEN", "big"]).integer(), 1_000_000);
}

#[test]
fn a_budget_ends() {
    let server = Server::start(Flavor::Redis70);
    let proxy = Proxy::start(Config { max_wait: SOON, ..config(server.port()) }).expect("a proxy");
    let mut one = Loop::connect(&proxy);
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let begun = Instant::now();
    one.send(&["INCR", "n"]);
    assert_eq!(one.read(6), b"-BUSY ");
    assert!((SOON..SCRIPT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn what_is_held_when_its_user_leaves_is_not_executed() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let proxy = proxy_to(&server);
        let [mut held, mut waiting, mut one] = [(); 3].map(|()| Loop::connect(&proxy));
        let script = BusyScript::start(server.address(), SCRIPT);
        script.wait_until_busy(server.address());
        held.send(&["INCR", "left"]);
        held.turn_until("it is lent", Loop::is_lent);
        // It has not waited for long enough to be lent.
        waiting.send(&["INCR", "left"]);
        thread::sleep(SOON);
        drop((held, waiting));
        one.send(&["INCR", "n"]);
        assert_eq!(one.read(4), b":1\r\n");
        assert_eq!(server.client().cmd(&["EXISTS", "left"]).integer(), 0, "{flavor}");
    }
}

#[test]
fn what_was_sent_is_executed_although_its_user_leaves() {
    const CONNECTIONS: i64 = 300;
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut client = server.client();
    for number in 0..CONNECTIONS {
        let mut one = Loop::connect(&proxy);
        one.send(&["INCR", "n"]);
        one.read(4);
        one.polled.lend().expect("a worker");
        // At whatever moment of its way back this is.
        for _ in 0..number % 10 * 100 {
            std::hint::spin_loop();
        }
        one.send(&["INCR", "n"]);
    }
    let begun = Instant::now();
    while client.cmd(&["GET", "n"]).text() != (2 * CONNECTIONS).to_string() {
        assert!(begun.elapsed() < LIMIT, "{}", client.cmd(&["GET", "n"]).text());
    }
}

/// What is in flight is awaited, since it may be what keeps the server busy.
#[test]
fn a_script_is_known_after_its_user_has_left() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let [mut one, mut other] = [(); 2].map(|()| Loop::connect(&proxy));
    one.send(&["EVAL", testkit::busy_lua(), "1", "n", &SCRIPT.as_millis().to_string()]);
    drop(one);
    other.send(&["GET", "n"]);
    assert_eq!(other.read(7), b"$1\r\n1\r\n");
    // Its answer is waited for, instead of asking all the time.
    assert!(server.rejections() < 10, "{}", server.rejections());
}

#[test]
fn a_server_that_closes_is_seen() {
    for is_lent in [false, true] {
        let server = ScriptedServer::start(|_, mut stream| {
            let mut peer = Client::from(stream.try_clone().expect("a socket"));
            if String::from_utf8_lossy(&peer.read_frame()).contains("INCR") {
                stream.write_all(b":1\r\n$10\r\nabc").expect("it reads");
            }
        });
        let proxy = Proxy::start(config(port(&server))).expect("a proxy");
        let mut one = Loop::connect(&proxy);
        one.polled.send(&[encode(&["INCR", "n"]), encode(&["GET", "n"])].concat()).expect("it lives");
        if is_lent {
            one.polled.lend().expect("a worker");
        }
        assert_eq!(one.read(12), b":1\r\n$10\r\nabc");
        one.turn_until("it ends", |one| one.has_ended);
        let begun = Instant::now();
        while one.polled.send(b"PING\r\n").is_ok() {
            assert!(begun.elapsed() < LIMIT);
        }
    }
}

#[test]
fn it_ends_with_its_proxy() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let mut one = Loop::connect(&proxy);
    proxy.stopper().stop_now();
    proxy.join();
    one.polled.send(b"PING\r\n").expect("nobody knows yet");
    let error = one.polled.receive(<[u8]>::len).expect_err("the proxy has ended");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn one_that_is_forgotten_closes_its_sockets_and_no_more() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(&server);
    let [own, mut lent] = [(); 2].map(|()| Loop::connect(&proxy));
    lent.send(&["INCR", "n"]);
    lent.polled.lend().expect("a worker");
    let mut other = Client::connect(server.address());
    let connected = |other: &mut Client| other.cmd(&["CLIENT", "LIST"]).text().lines().count();
    let before = connected(&mut other);
    own.polled.forget();
    while connected(&mut other) == before {}
    lent.polled.forget();
    assert_eq!(other.cmd(&["GET", "n"]).text(), "1");
}
