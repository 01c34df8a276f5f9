//! Subscribing on servers that are busy.
mod common;

use std::time::Duration;

use common::{client, make_busy};
use testkit::{Flavor, Server};

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

#[cfg(feature = "aio")]
#[tokio::test]
async fn an_asynchronous_subscription_waits() {
    use futures_util::StreamExt as _;

    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        let client = client(&server);
        let mut pubsub = client.get_async_pubsub().await.unwrap();
        let script = make_busy(&server, 400);
        let mut patience = client.patience();
        while let Err(error) = pubsub.subscribe("news").await {
            patience.wait(error).await.unwrap();
        }
        script.join();
        assert_eq!(
            server.client().cmd(&["PUBLISH", "news", "hello"]),
            testkit::Reply::Integer(1),
            "{flavor}"
        );
        let message = tokio::time::timeout(Duration::from_secs(5), pubsub.on_message().next()).await;
        assert_eq!(message.unwrap().unwrap().get_payload::<String>().unwrap(), "hello");
    }
}
