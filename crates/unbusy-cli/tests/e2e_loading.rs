//! A server that loads its data set rejects commands, too, and they can be held as well.
mod e2e_support;

use std::time::Duration;

use e2e_support::{proxy, wait_until};
use testkit::{Client, Flavor, Reply, Server};

const KEYS: usize = 20;
/// A server handles its sockets once in so many bytes that it has loaded: once for each key.
const VALUE_BYTES: &str = "2200000";

/// A server on which loading a key takes 20 ms.
fn slow_loader(flavor: Flavor) -> Server {
    let mut builder = Server::builder(flavor).arg("--key-load-delay").arg("20000");
    builder = builder.arg("--rdbcompression").arg("no");
    if flavor != Flavor::Redis62 {
        builder = builder.arg("--enable-debug-command").arg("yes");
    }
    builder.start()
}

/// Makes the server load what it holds; its reply is awaited on the connection that is returned.
fn start_loading(server: &Server) -> Client {
    let mut loader = server.client();
    assert!(loader.cmd(&["DEBUG", "POPULATE", &KEYS.to_string(), "key", VALUE_BYTES]).is_ok());
    loader.send_cmd(&["DEBUG", "RELOAD"]);
    let mut direct = server.client();
    wait_until("the server loads", || is_loading(&direct.cmd(&["GET", "none"])));
    loader
}

fn is_loading(reply: &Reply) -> bool {
    reply.error().is_some_and(|error| error.starts_with("LOADING "))
}

#[test]
fn held_if_asked_for() {
    for flavor in Flavor::ALL {
        let server = slow_loader(flavor);
        let holding = proxy(&server, &["--hold", "busy,loading"]);
        let (mut client, mut piped) =
            (Client::connect(holding.address()), Client::connect(holding.address()));
        let mut loader = start_loading(&server);
        piped.send(&b"INCR piped\r\n".repeat(100));
        assert_eq!(client.cmd(&["INCR", "n"]).integer(), 1, "{flavor}");
        assert!(client.cmd(&["DBSIZE"]).integer() as usize > KEYS, "{flavor}: all is loaded by then");
        let counts: Vec<i64> = (0..100).map(|_| piped.read_reply().integer()).collect();
        assert_eq!(counts, (1..=100).collect::<Vec<_>>(), "{flavor}");
        assert!(loader.read_reply().is_ok());
        assert_eq!(server.client().cmd(&["GET", "n"]).text(), "1", "{flavor}");
    }
}

#[test]
fn passed_on_unless_asked_for() {
    let server = slow_loader(Flavor::Redis70);
    let plain = proxy(&server, &[]);
    let mut client = Client::connect(plain.address());
    let mut loader = start_loading(&server);
    assert!(is_loading(&client.cmd(&["INCR", "n"])));
    loader.set_timeout(Duration::from_secs(20));
    assert!(loader.read_reply().is_ok());
    assert_eq!(client.cmd(&["INCR", "n"]).integer(), 1);
}
