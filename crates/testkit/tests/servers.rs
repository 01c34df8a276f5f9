//! The kit against the real servers.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use testkit::{BusyScript, Client, Flavor, Relay, Reply, Server, wait_until_busy};

fn on_every_server(test: impl Fn(&Server)) {
    for flavor in Flavor::ALL {
        test(&Server::start(flavor));
    }
}

#[test]
fn a_server_answers_over_tcp_and_unix_socket() {
    on_every_server(|server| {
        let info = server.client().cmd(&["INFO", "server"]).text();
        assert!(info.contains(&format!("process_id:{}", server.pid())), "{info}");
        let mut local = Client::connect_unix(server.unix_path());
        assert!(local.cmd(&["SET", "k", "v"]).is_ok());
        assert_eq!(server.client().cmd(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
    });
}

#[test]
fn a_busy_script_makes_every_server_busy_and_then_writes() {
    on_every_server(|server| {
        let script = BusyScript::start_with_key(server.address(), Duration::from_millis(300), "k");
        script.wait_until_busy(server.address());
        let before = Instant::now();
        let (reply, at) = script.join();
        assert_eq!(reply, b":1\r\n");
        assert!(at >= before);
        assert_eq!(server.client().cmd(&["GET", "k"]).text(), "1");
    });
}

#[test]
fn a_busy_script_can_be_killed_until_it_writes() {
    on_every_server(|server| {
        let script = BusyScript::start_with_key(server.address(), Duration::from_secs(60), "k");
        wait_until_busy(server.address());
        assert!(server.client().cmd(&["SCRIPT", "KILL"]).is_ok());
        assert!(script.join().0.starts_with(b"-ERR "));
        assert_eq!(server.client().cmd(&["GET", "k"]), Reply::Null);
    });
}

#[test]
fn the_threshold_is_the_one_asked_for() {
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).threshold(Duration::from_millis(40)).start();
        let reply = server.client().cmd(&["CONFIG", "GET", flavor.threshold_option()]);
        assert_eq!(reply.items()[1].text(), "40");
    }
}

#[test]
fn a_server_ends_with_its_owner() {
    let server = Server::start(Flavor::Valkey91);
    let pid = server.pid();
    drop(server);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn big_pipelines_do_not_block() {
    let server = Server::start(Flavor::Valkey91);
    let commands = testkit::encode(&["ECHO", &"x".repeat(100)]).repeat(100_000);
    let replies = server.client().exchange(&commands, 100_000);
    assert!(replies.iter().all(|reply| reply.len() == 108));
}

#[test]
fn a_relay_delays_both_ways() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    let mut client = Client::connect(relay.address());
    relay.delay(Duration::from_millis(30));
    let start = Instant::now();
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn a_relay_freezes_one_connection_and_not_the_others() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    let mut clients = [Client::connect(relay.address()), Client::connect(relay.address())];
    relay.freeze(0);
    clients[0].send_cmd(&["PING"]);
    assert_eq!(clients[1].cmd(&["PING"]).text(), "PONG");
    assert_eq!(clients[0].try_read_frame(Duration::from_millis(20)), None);
    relay.unfreeze();
    assert_eq!(clients[0].read_frame(), b"+PONG\r\n");
}

#[test]
fn a_relay_cuts_with_a_reset() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    let mut client = Client::connect(relay.address());
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    relay.cut(0);
    assert_eq!(client.read_to_end(Duration::from_secs(5)), b"");
    wait_for_clients(&server, 1);
}

#[test]
fn a_relay_passes_a_close_on() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    let mut client = Client::connect(relay.address());
    assert_eq!(client.cmd(&["PING"]).text(), "PONG");
    drop(client);
    wait_for_clients(&server, 1);
}

#[test]
fn a_relay_refuses_and_comes_back() {
    let server = Server::start(Flavor::Redis70);
    let relay = Relay::start(server.address());
    let mut old = Client::connect(relay.address());
    assert_eq!(old.cmd(&["PING"]).text(), "PONG");
    relay.refuse(true);
    let error = std::net::TcpStream::connect(relay.address()).expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(old.cmd(&["PING"]).text(), "PONG");
    relay.refuse(false);
    assert_eq!(Client::connect(relay.address()).cmd(&["PING"]).text(), "PONG");
}

/// Waits until the server knows of `count` clients, the asking one included.
fn wait_for_clients(server: &Server, count: usize) {
    let mut client = server.client();
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.cmd(&["CLIENT", "LIST"]).text().lines().count() != count {
        assert!(Instant::now() < deadline, "not {count} clients");
        thread::sleep(Duration::from_millis(2));
    }
}
