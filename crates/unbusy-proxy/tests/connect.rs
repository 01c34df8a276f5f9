//! Connections of the process in which the proxy runs.

use std::io;
use std::time::{Duration, Instant};

use testkit::{BusyScript, Client, Flavor, Server};
use unbusy_proxy::{Address, Config, Proxy};

const SCRIPT: Duration = Duration::from_millis(1500);

fn proxy_to(port: u16) -> Proxy {
    let mut config = Config { listen: Vec::new(), ..Config::default() };
    config.upstream.address = Address::Tcp { host: "127.0.0.1".into(), port };
    Proxy::start(config).expect("a proxy without listeners")
}

fn connect(proxy: &Proxy) -> io::Result<Client> {
    let connecting = proxy.connect()?.wait(Duration::MAX).expect("waits without end");
    connecting.map(Client::from)
}

#[test]
fn a_connection_without_a_listener_is_held() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(server.port());
    assert!(proxy.addresses().is_empty());
    assert_eq!(proxy.calm(), None);
    let mut client = connect(&proxy).expect("the server is there");
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let sent = Instant::now();
    client.send_cmd(&["INCR", "n"]);
    while proxy.calm() != Some(Duration::ZERO) {
        assert!(sent.elapsed() < SCRIPT, "never held");
    }
    assert_eq!(client.read_frame(), b":1\r\n");
    // The client has its answer a little before the gate hears of it.
    while proxy.calm() == Some(Duration::ZERO) {
        assert!(sent.elapsed() < 20 * SCRIPT, "busy for ever");
    }
    assert!(proxy.calm().is_some_and(|calm| calm < 20 * SCRIPT));
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("its number").port();
    drop(free);
    let error = connect(&proxy_to(port)).expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_proxy_that_has_ended_connects_nobody() {
    let server = Server::start(Flavor::Redis70);
    let proxy = proxy_to(server.port());
    connect(&proxy).expect("it runs");
    proxy.stopper().stop_now();
    let error = loop {
        if let Err(error) = connect(&proxy) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    proxy.join();
}
