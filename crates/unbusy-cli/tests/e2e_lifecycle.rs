//! How a proxy meets servers that are not there, how it ends, whom it turns away, and what it says.
mod e2e_support;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use e2e_support::{PATIENCE, client_list, counter, on_every_server, proxy, proxy_to, wait_until};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket, socket_with,
};
use testkit::{BusyScript, Client, Flavor, Proxy, Relay, Reply, Server, encode};

const SCRIPT: Duration = Duration::from_secs(1);
/// Far below any drain or budget, far above what ending takes.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Later than an echo of the first signal, which leaders of a process group send, as this test may be one.
const NO_ECHO: Duration = Duration::from_millis(50);

// === The server is not there

#[test]
fn an_unreachable_server_is_an_error_and_then_the_end() {
    let relay = Relay::start("127.0.0.1:1");
    relay.refuse(true);
    let proxy = proxy_to(&relay.url(), &[]);
    let answer = answer_and_end(&proxy);
    let expected = format!("-ERR unbusy: cannot reach {}: ", relay.address());
    assert!(answer.starts_with(&expected) && answer.ends_with("\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("refused"), "no reason: {answer}");
    assert_eq!(answer.matches("\r\n").count(), 1, "more than one line: {answer}");
}

#[test]
fn a_server_that_appears_is_found() {
    on_every_server(|server, _| {
        let relay = Relay::start(server.address());
        relay.refuse(true);
        let proxy = proxy_to(&relay.url(), &[]);
        for _ in 0..3 {
            assert!(answer_and_end(&proxy).starts_with("-ERR unbusy: cannot reach "));
        }
        relay.refuse(false);
        assert_eq!(Client::connect(proxy.address()).cmd(&["PING"]).text(), "PONG");
        // And when it goes and comes again; a client that was connected goes on as long as its connection does.
        let mut old = Client::connect(proxy.address());
        assert_eq!(old.cmd(&["INCR", "k"]).integer(), 1);
        relay.refuse(true);
        assert!(answer_and_end(&proxy).starts_with("-ERR unbusy: cannot reach "));
        assert_eq!(old.cmd(&["INCR", "k"]).integer(), 2);
        relay.refuse(false);
        assert_eq!(Client::connect(proxy.address()).cmd(&["INCR", "k"]).integer(), 3);
    });
}

/// A server that is found late has a threshold, too: this one's is far below the 5 s that are assumed without one.
#[test]
fn a_server_that_appears_is_held_as_any_other() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    relay.refuse(true);
    let proxy = proxy_to(&relay.url(), &[]);
    assert!(answer_and_end(&proxy).starts_with("-ERR unbusy: cannot reach "));
    relay.refuse(false);
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.cmd(&["INCR", "k"]).integer(), 1);
    let script = busy(&server);
    assert_eq!(client.cmd(&["INCR", "k"]).integer(), 2);
    script.join();
}

#[test]
fn a_missing_unix_socket_is_an_error_and_then_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("absent.sock");
    let proxy = proxy_to(&format!("unix:{}", path.display()), &[]);
    let answer = answer_and_end(&proxy);
    let expected = format!("-ERR unbusy: cannot reach unix:{}: ", path.display());
    assert!(answer.starts_with(&expected), "{answer}");
}

#[test]
fn a_server_that_does_not_accept_is_given_up_in_time() {
    let deaf = DeafListener::start();
    let proxy = proxy_to(&format!("redis://{}", deaf.address), &["--connect-timeout", "300ms"]);
    let start = Instant::now();
    let answer = answer_and_end(&proxy);
    assert!(answer.starts_with(&format!("-ERR unbusy: cannot reach {}: ", deaf.address)), "{answer}");
    let took = start.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_secs(1)).contains(&took), "after {took:?}");
}

#[test]
fn a_server_that_dies_closes_its_clients_only() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    let proxy = proxy_to(&relay.url(), &["--busy-threshold", "100ms"]);
    let mut first = connected(&proxy);
    let first_index = relay.accepted() - 1;
    let mut second = connected(&proxy);
    relay.cut(first_index);
    assert_eq!(first.read_to_end(PATIENCE), b"");
    assert_eq!(second.cmd(&["PING"]).text(), "PONG");
}

/// What is said to a client that asks something, up to the end of its connection.
fn answer_and_end(proxy: &Proxy) -> String {
    let mut client = Client::connect(proxy.address());
    client.send_cmd(&["PING"]);
    String::from_utf8(client.read_to_end(PATIENCE)).expect("text")
}

/// Listens, with a queue that is full: the system drops whatever else asks for a connection.
struct DeafListener {
    address: SocketAddr,
    _sockets: Vec<rustix::fd::OwnedFd>,
}

impl DeafListener {
    fn start() -> Self {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        listen(&listener, 0).expect("listening");
        let address = getsockname(&listener).expect("an address").try_into().expect("an IP address");
        let mut sockets = vec![listener];
        // The system takes one or two more than it was told; connections that it drops stay in progress.
        for _ in 0..4 {
            let flags = SocketFlags::NONBLOCK;
            let filler = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
            let _in_progress = connect(&filler, &address);
            sockets.push(filler);
        }
        Self { address, _sockets: sockets }
    }
}

// === The end

#[test]
fn a_stop_lets_held_commands_finish() {
    on_every_server(|server, _| {
        let mut proxy = proxy(server, &[]);
        let mut idle = connected(&proxy);
        let mut held = [connected(&proxy), connected(&proxy)];
        let script = busy(server);
        held.iter_mut().for_each(send_held_increment);
        proxy.terminate();
        assert_eq!(idle.read_to_end(AT_ONCE), b"", "an idle client has nothing to wait for");
        wait_until("nobody is let in", || TcpStream::connect(proxy.address()).is_err());
        let mut values: Vec<_> = held.iter_mut().map(|client| client.read_reply().integer()).collect();
        let (_, end) = script.join();
        values.sort_unstable();
        assert_eq!(values, [1, 2]);
        for client in &mut held {
            assert_eq!(client.read_to_end(PATIENCE), b"");
        }
        assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
        assert!(end.elapsed() < AT_ONCE, "it ended only {:?} after the last answer was there", end.elapsed());
    });
}

#[test]
fn a_stop_without_clients_is_quick() {
    on_every_server(|server, _| {
        let mut proxy = proxy(server, &[]);
        let mut idle = connected(&proxy);
        let start = Instant::now();
        proxy.terminate();
        assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert_eq!(idle.read_to_end(AT_ONCE), b"");
    });
}

#[test]
fn a_drain_has_a_limit() {
    on_every_server(|server, _| {
        let mut proxy = proxy(server, &["--drain", "300ms"]);
        let mut held = connected(&proxy);
        let script = BusyScript::start(server.address(), Duration::from_secs(60));
        script.wait_until_busy(server.address());
        send_held_increment(&mut held);
        let start = Instant::now();
        proxy.terminate();
        assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(250), "gave up after {took:?}");
        assert!(took < Duration::from_millis(300) + AT_ONCE, "ended only after {took:?}");
        let warning = proxy.wait_log("were cut off", PATIENCE);
        assert!(warning.contains("WARN") && warning.ends_with("connections=1"), "{warning}");
        let _ = held.read_to_end(AT_ONCE);
        assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
        script.join();
        assert_nothing_left(server);
    });
}

#[test]
fn a_second_signal_ends_at_once() {
    on_every_server(|server, _| {
        let mut proxy = proxy(server, &[]);
        let mut held = connected(&proxy);
        let script = BusyScript::start(server.address(), Duration::from_secs(60));
        script.wait_until_busy(server.address());
        send_held_increment(&mut held);
        proxy.terminate();
        proxy.wait_log("SIGTERM", PATIENCE);
        thread::sleep(NO_ECHO);
        let second = Instant::now();
        proxy.terminate();
        assert_eq!(proxy.wait_exit(PATIENCE).code(), Some(0));
        assert!(second.elapsed() < AT_ONCE, "{:?}", second.elapsed());
        let _ = held.read_to_end(AT_ONCE);
        assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
        script.join();
        assert_nothing_left(server);
    });
}

/// No command of a client that is gone was or will be executed.
fn assert_nothing_left(server: &Server) {
    let mut observer = server.client();
    wait_until("the proxy's connections are gone", || client_list(&mut observer).len() == 1);
    assert_eq!(counter(&mut observer, "k"), 0);
}

// === Who is turned away

#[test]
fn more_clients_than_allowed_are_refused() {
    on_every_server(|server, _| {
        let proxy = proxy(server, &["--max-connections", "2"]);
        let (first, mut second) = (connected(&proxy), connected(&proxy));
        let mut third = Client::connect(proxy.address());
        let refusal = String::from_utf8(third.read_to_end(PATIENCE)).expect("text");
        assert!(refusal.starts_with("-ERR ") && refusal.ends_with("\r\n"), "{refusal}");
        assert_eq!(second.cmd(&["PING"]).text(), "PONG");
        drop(first);
        wait_until("a place is free", || is_served(&proxy));
    });
}

/// A client that may be refused and closed at any moment, which a [`Client`] would panic about.
fn is_served(proxy: &Proxy) -> bool {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(proxy.address()).expect("the proxy");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer)).is_ok()
        && &answer == b"+PONG\r\n"
}

#[test]
fn listening_beyond_this_machine_must_be_allowed() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let output = Command::new(env!("CARGO_BIN_EXE_unbusy"))
            .args(["proxy", "--listen", address, "--upstream", "redis://127.0.0.1:1"])
            .stdin(Stdio::null())
            .output()
            .expect("the binary");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--allow-remote"), "{said}");
    }
}

#[test]
fn listening_beyond_this_machine_can_be_allowed() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy(&server, &["--listen", "0.0.0.0:0", "--allow-remote"]);
    let line = proxy.wait_log("listening on 0.0.0.0:", PATIENCE);
    let port = line.split("0.0.0.0:").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a port");
    assert_eq!(Client::connect(format!("127.0.0.1:{port}")).cmd(&["PING"]).text(), "PONG");
}

#[test]
fn an_address_in_use_is_said() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_unbusy"))
        .args(["proxy", "--listen", &address, "--upstream", "redis://127.0.0.1:1"])
        .stdin(Stdio::null())
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
}

// === What is said

#[test]
fn an_episode_has_one_notice_at_its_beginning_and_one_at_its_end() {
    const CLIENTS: usize = 20;
    on_every_server(|server, proxy| {
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| connected(proxy)).collect();
        for episode in 1..=2 {
            let before = proxy.log().lines().count();
            let script = busy(server);
            for client in &mut clients {
                client.send_cmd(&["INCR", "k"]);
            }
            for client in &mut clients {
                assert!(client.read_reply().integer() > 0);
            }
            script.join();
            let notices = || proxy.log().lines().skip(before).map(Into::into).collect::<Vec<String>>();
            wait_until("a notice at the beginning and one at the end", || notices().len() >= 2);
            // One more round trip of everybody: whatever else there is to say has been said.
            for client in &mut clients {
                assert_eq!(client.cmd(&["PING"]), Reply::Simple("PONG".into()));
            }
            let notices = notices();
            assert_eq!(notices.len(), 2, "episode {episode}: {notices:#?}");
            assert!(notices[0].to_lowercase().contains("busy"), "{}", notices[0]);
            assert!(notices[1].contains(&CLIENTS.to_string()), "the connections held: {}", notices[1]);
        }
    });
}

/// The 5 s that are assumed then are a guess, and more than the server's real threshold here.
#[test]
fn a_login_that_does_not_do_for_the_threshold_is_warned_of() {
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).arg("--requirepass").arg("secret").start();
        let mut client = server.client();
        assert_eq!(client.cmd(&["AUTH", "secret"]).text(), "OK");
        assert_eq!(client.cmd(&["ACL", "SETUSER", "small", "on", ">secret", "+ping"]).text(), "OK");
        for (login, code) in [("", "NOAUTH"), (":secrets@", "WRONGPASS"), ("small:secret@", "NOPERM")] {
            let proxy = proxy_to(&format!("redis://{login}{}", server.address()), &[]);
            let warning = proxy.wait_log("the threshold cannot be read", PATIENCE);
            assert!(warning.contains("WARN") && warning.contains(code), "{warning}");
            assert!(!warning.contains("secret"), "{warning}");
        }
        // Who may read the settings need not be able to read anything else.
        let settings = ["ACL", "SETUSER", "settings", "on", ">secret", "+config"];
        assert_eq!(client.cmd(&settings).text(), "OK");
        for login in [":secret@", "settings:secret@"] {
            let proxy = proxy_to(&format!("redis://{login}{}", server.address()), &["-v"]);
            let known = proxy.wait_log("the server's threshold", PATIENCE);
            // Later than that a warning would come.
            let mut late = Client::connect(proxy.address());
            assert!(late.cmd(&["PING"]).error().is_some(), "nobody is logged in");
            assert!(!proxy.log().contains("cannot be read"), "{known}");
        }
    }
}

// === Helpers

fn connected(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    client
}

/// While the server is busy. What the proxy has not even read when it is told to stop, it does not wait for; HELLO is
/// answered all the same and comes in one piece with the INCR, so that one has been read, too.
fn send_held_increment(client: &mut Client) {
    client.send(&[encode(&["HELLO"]), encode(&["INCR", "k"])].concat());
    assert_eq!(client.read_reply().error(), None);
}

fn busy(server: &Server) -> BusyScript {
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    script
}
