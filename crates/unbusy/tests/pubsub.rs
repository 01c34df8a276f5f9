//! Subscribing on servers that are busy.
mod common;

use std::time::Duration;

use common::{client, make_busy};
use testkit::{Flavor, ScriptedServer, Server};

#[test]
fn a_blocking_subscription_waits() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        for protocol in ["resp2", "resp3"] {
            let url = format!("{}?protocol={protocol}", server.url());
            let mut connection = unbusy::Client::open(url).unwrap().get_connection().unwrap();
            let mut pubsub = connection.as_pubsub();
            let script = make_busy(&server, 400);
            pubsub.subscribe("news").unwrap();
            script.join();
            assert_eq!(
                server.client().cmd(&["PUBLISH", "news", "hello"]),
                testkit::Reply::Integer(1),
                "{flavor}"
            );
            assert_eq!(pubsub.get_message().unwrap().get_payload::<String>().unwrap(), "hello");
            let script = make_busy(&server, 400);
            let pong: redis::Value = pubsub.ping_message("there?").unwrap();
            assert!(!matches!(pong, redis::Value::ServerError(_)), "{flavor}: {pong:?}");
            script.join();
            let script = make_busy(&server, 400);
            drop(pubsub);
            script.join();
            // The connection is as new.
            redis::cmd("SET").arg("k").arg("v").exec(&mut connection).unwrap();
            assert_eq!(
                server.client().cmd(&["PUBLISH", "news", "hello"]),
                testkit::Reply::Integer(0),
                "{flavor}"
            );
        }
    }
}

/// Such as when the machine is so loaded that the lease is over before the command is read.
#[test]
fn a_subscription_that_was_answered_too_late_is_made_again() {
    const BUSY: &[u8] =
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    const THRESHOLD: Duration = Duration::from_millis(100);
    let server = ScriptedServer::start(|_, stream| {
        let mut peer = testkit::Client::from(stream);
        loop {
            let command = String::from_utf8(peer.read_frame()).unwrap();
            let words: Vec<_> = command.split("\r\n").collect();
            match words[2] {
                "SUBSCRIBE" => {
                    std::thread::sleep(2 * THRESHOLD);
                    peer.send(BUSY);
                    assert_eq!(peer.read_frame(), testkit::encode(&["PING", ""]));
                    peer.send(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
                    assert_eq!(peer.read_frame(), testkit::encode(&["SUBSCRIBE", "news"]));
                    peer.send(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
                    peer.send(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
                    return;
                }
                _ => peer.send(b"+OK\r\n"),
            }
        }
    });
    let client = unbusy::Client::open(server.url()).unwrap();
    let client = client.with_policy(&unbusy::Policy::default().threshold(THRESHOLD));
    let mut connection = client.get_connection().unwrap();
    redis::cmd("SET").arg("k").arg("v").exec(&mut connection).unwrap();
    let mut pubsub = connection.as_pubsub();
    pubsub.subscribe("news").unwrap();
    assert_eq!(pubsub.get_message().unwrap().get_payload::<String>().unwrap(), "hello");
}

#[test]
fn a_handler_of_messages_waits_for_its_subscription() {
    use redis::{ControlFlow, PubSubCommands};

    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let mut connection = client(&server).get_connection().unwrap();
        let script = make_busy(&server, 400);
        let mut publisher = client(&server).get_connection().unwrap();
        let publishing = std::thread::spawn(move || {
            while redis::cmd("PUBLISH").arg("news").arg("hello").query::<u64>(&mut publisher).unwrap() == 0 {}
        });
        let message: String = connection
            .subscribe("news", |message| ControlFlow::Break(message.get_payload().unwrap()))
            .unwrap();
        assert_eq!(message, "hello", "{flavor}");
        publishing.join().unwrap();
        script.join();
    }
}

#[test]
fn a_subscription_on_the_connection_itself_waits() {
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let url = format!("{}?protocol=resp3", server.url());
        let mut connection = unbusy::Client::open(url).unwrap().get_connection().unwrap();
        let (sender, pushes) = std::sync::mpsc::channel();
        connection.set_push_sender(sender);
        for subscribe in [true, false] {
            let script = make_busy(&server, 400);
            if subscribe {
                connection.subscribe_resp3("news").unwrap();
                connection.psubscribe_resp3("n*").unwrap();
            } else {
                connection.unsubscribe_resp3("news").unwrap();
                connection.punsubscribe_resp3("n*").unwrap();
            }
            redis::cmd("PING").exec(&mut connection).unwrap();
            script.join();
            let receivers = testkit::Reply::Integer(if subscribe { 2 } else { 0 });
            assert_eq!(server.client().cmd(&["PUBLISH", "news", "hello"]), receivers, "{flavor}");
        }
        assert_eq!(pushes.try_iter().filter(|push| push.kind == redis::PushKind::Subscribe).count(), 1);
    }
}

#[cfg(feature = "aio")]
#[tokio::test]
async fn subscriptions_on_asynchronous_connections_wait() {
    /// Subscribes and unsubscribes, each while the server is busy.
    macro_rules! check {
        ($server:ident, $connection:ident) => {{
            let script = make_busy(&$server, 400);
            $connection.subscribe(&["news", "olds"]).await.unwrap();
            $connection.psubscribe("n*").await.unwrap();
            script.join();
            let receivers = |count| testkit::Reply::Integer(count);
            assert_eq!($server.client().cmd(&["PUBLISH", "news", "hello"]), receivers(2));
            let script = make_busy(&$server, 400);
            $connection.unsubscribe(&["news", "olds"]).await.unwrap();
            $connection.punsubscribe("n*").await.unwrap();
            script.join();
            assert_eq!($server.client().cmd(&["PUBLISH", "news", "hello"]), receivers(0));
        }};
    }
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let client = unbusy::Client::open(format!("{}?protocol=resp3", server.url())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        check!(server, connection);
        let mut manager = client.get_connection_manager().await.unwrap();
        check!(server, manager);
    }
}

#[cfg(feature = "aio")]
#[tokio::test]
async fn an_asynchronous_subscription_waits() {
    use futures_util::StreamExt as _;

    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let client = client(&server);
        let mut pubsub = client.get_async_pubsub().await.unwrap();
        let script = make_busy(&server, 400);
        pubsub.subscribe("news").await.unwrap();
        script.join();
        assert_eq!(
            server.client().cmd(&["PUBLISH", "news", "hello"]),
            testkit::Reply::Integer(1),
            "{flavor}"
        );
        let message = tokio::time::timeout(Duration::from_secs(5), pubsub.on_message().next()).await;
        assert_eq!(message.unwrap().unwrap().get_payload::<String>().unwrap(), "hello");
        let (mut sink, _messages) = pubsub.split();
        let script = make_busy(&server, 400);
        let pong: redis::Value = sink.ping().await.unwrap();
        assert!(!matches!(pong, redis::Value::ServerError(_)), "{flavor}: {pong:?}");
        script.join();
        let script = make_busy(&server, 400);
        sink.unsubscribe("news").await.unwrap();
        script.join();
        assert_eq!(server.client().cmd(&["PUBLISH", "news", "hello"]), testkit::Reply::Integer(0));
    }
}
