//! Asynchronous connections on servers that are busy.
mod common;

use std::time::{Duration, Instant};

use common::{client, make_busy, make_silent};
use redis::AsyncCommands;
use redis::aio::ConnectionManagerConfig as ManagerConfig;
use testkit::{Flavor, Server};
use tokio::task::JoinSet;

fn run(mut scenario: impl AsyncFnMut(&Server, unbusy::Client)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for flavor in Flavor::ALL {
        let server = Server::start(flavor);
        runtime.block_on(scenario(&server, client(&server)));
    }
}

#[test]
fn commands_wait_and_are_executed_once() {
    run(async |server, client| {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let script = make_silent(server, 800);
        assert_eq!(connection.incr::<_, _, u64>("n", 1).await.unwrap(), 1);
        script.join();
        assert_eq!(connection.get::<_, u64>("n").await.unwrap(), 1);
    });
}

#[test]
fn the_first_connection_asks_the_server_of_itself() {
    run(async |server, client| {
        let before = asked(server);
        let _first = client.get_multiplexed_async_connection().await.unwrap();
        let after = asked(server);
        let _second = client.get_multiplexed_async_connection().await.unwrap();
        assert!(after != before && asked(server) == after, "{}", server.flavor());
    });
}

/// Processes that start together see the connections of one another only then.
#[test]
fn a_connection_soon_after_the_first_asks_the_server_again() {
    let server = Server::start(Flavor::Valkey91);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = client(&server);
        let _first = client.get_multiplexed_async_connection().await.unwrap();
        let (first, start) = (asked(&server), Instant::now());
        while asked(&server) == first {
            assert!(start.elapsed() < Duration::from_secs(15), "it does not ask again");
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.get_multiplexed_async_connection().await.unwrap();
        }
    });
}

/// How often the server was asked for its settings, as it tells that.
fn asked(server: &Server) -> Option<String> {
    let stats = server.client().cmd(&["INFO", "commandstats"]).text();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_config"))?;
    line.split(',').next().map(str::to_owned)
}

#[test]
fn pipelines_are_executed_once_and_in_order() {
    const COMMANDS: u64 = 20_000;
    run(async |server, client| {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut pipeline = redis::pipe();
        for _ in 0..COMMANDS {
            pipeline.incr("n", 1);
        }
        for millis in [110, 130, 300] {
            let script = make_silent(server, millis);
            let replies: Vec<u64> = pipeline.query_async(&mut connection).await.unwrap();
            assert!(replies.iter().copied().eq(1..=COMMANDS), "{}", server.flavor());
            script.join();
            assert_eq!(connection.get_del::<_, u64>("n").await.unwrap(), COMMANDS);
        }
    });
}

/// The one that is on its way when the script begins was sent as it is, under a lease.
#[test]
fn small_pipelines_one_after_another_go_through_a_script() {
    const COMMANDS: u64 = 50;
    run(async |server, client| {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut pipeline = redis::pipe();
        for _ in 0..COMMANDS {
            pipeline.incr("n", 1);
        }
        let mut count = 0;
        // Now and then a script begins just when nothing is on its way.
        let mut scripts = 0..20;
        while server.rejections() < COMMANDS {
            scripts.next().expect("a script that meets a pipeline on its way");
            let script = make_silent(server, 200);
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(300) {
                let replies: Vec<u64> = pipeline.query_async(&mut connection).await.unwrap();
                assert!(replies.into_iter().eq(count + 1..=count + COMMANDS), "{}", server.flavor());
                count += COMMANDS;
            }
            script.join();
        }
    });
}

#[test]
fn a_future_that_is_dropped_while_it_waits_is_never_executed() {
    run(async |server, client| {
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let script = make_busy(server, 800);
        let (mut first, mut second) = (connection.clone(), connection.clone());
        let dropped = tokio::time::timeout(Duration::from_millis(200), first.incr::<_, _, u64>("n", 10));
        assert!(dropped.await.is_err());
        // The one that asks for all was dropped; another takes over.
        assert_eq!(second.incr::<_, _, u64>("n", 1).await.unwrap(), 1);
        script.join();
    });
}

#[test]
fn connections_are_set_up_while_the_server_is_busy() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).arg("--requirepass").arg("secret").start();
        let mut direct = server.client();
        assert_eq!(direct.cmd(&["AUTH", "secret"]).text(), "OK");
        for protocol in ["resp2", "resp3"] {
            let url = format!("redis://:secret@{}/1?protocol={protocol}", server.address());
            let client = unbusy::Client::open(url).unwrap();
            direct.send_cmd(&["EVAL", testkit::busy_lua(), "0", "500"]);
            std::thread::sleep(Duration::from_millis(200));
            runtime.block_on(async {
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                connection.set::<_, _, ()>("where", "here").await.unwrap();
                assert_eq!(direct.read_reply(), testkit::Reply::Integer(1));
                assert_eq!(direct.cmd(&["GET", "where"]), testkit::Reply::Null, "{flavor}: database 0");
                assert_eq!(connection.del::<_, u64>("where").await.unwrap(), 1);
            });
        }
    }
}

#[test]
fn a_manager_that_reconnects_while_the_server_is_busy_recovers() {
    run(async |server, _| {
        let client = unbusy::Client::open(format!("{}/1", server.url())).unwrap();
        let mut connection = client.get_connection_manager().await.unwrap();
        assert_eq!(connection.incr::<_, _, u64>("n", 1).await.unwrap(), 1);
        let mut other = connection.clone();
        assert_eq!(server.client().cmd(&["CLIENT", "KILL", "TYPE", "normal"]), testkit::Reply::Integer(1));
        let script = make_busy(server, 2_500);
        let mut lost = 0;
        while let Err(error) = connection.incr::<_, _, u64>("n", 1).await {
            assert!(error.is_io_error() || error.is_connection_dropped(), "{error}");
            lost += 1;
        }
        assert!(lost <= 1, "only the command that met the closed connection is lost");
        script.join();
        assert_eq!(other.incr::<_, _, u64>("n", 1).await.unwrap(), 3);
        assert_eq!(server.client().cmd(&["EXISTS", "n"]), testkit::Reply::Integer(0), "database 0");
    });
}

/// The silence of a server that is to answer BUSY only after 5 s.
#[test]
fn silence_is_waited_for_and_a_time_out_is_never_followed_by_another_try() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).threshold(Duration::from_secs(5)).start();
        runtime.block_on(async {
            let policy = unbusy::Policy::default().threshold(Duration::from_millis(100));
            let patient = client(&server).with_policy(&policy);
            let hasty = client(&server).with_policy(&policy.max_wait(Duration::from_millis(300)));
            let mut patient = patient.get_multiplexed_async_connection().await.unwrap();
            let mut manager = hasty.get_connection_manager().await.unwrap();
            let mut hasty = hasty.get_multiplexed_async_connection().await.unwrap();
            let script = make_silent(&server, 1_200);
            // So that the script is there first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let start = Instant::now();
            let (waits, one, other) = tokio::join!(
                patient.incr::<_, _, u64>("n", 1),
                hasty.incr::<_, _, u64>("n", 1),
                manager.incr::<_, _, u64>("n", 1)
            );
            waits.expect("longer than the half second of the redis crate");
            assert!(one.unwrap_err().is_timeout() && other.unwrap_err().is_timeout());
            assert!(start.elapsed() >= Duration::from_secs(1), "{flavor}: there was no silence");
            script.join();
            // What is answered on a connection says that all before it was executed.
            while hasty.get::<_, u64>("n").await.is_err() || manager.get::<_, u64>("n").await.is_err() {}
            assert_eq!(patient.get::<_, u64>("n").await.unwrap(), 3, "{flavor}: each was executed, and once");
        });
    }
}

/// What others have in flight on the connection lies in front of a pipeline, and counts for its window.
#[test]
fn a_pipeline_keeps_its_order_beside_others_on_the_connection() {
    const COMMANDS: u64 = 2_000;
    const OTHERS: usize = 100;
    run(async |server, client| {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let value = "x".repeat(4_000);
        let mut tasks = JoinSet::new();
        for _ in 0..OTHERS {
            let (mut connection, value) = (connection.clone(), value.clone());
            tasks.spawn(async move {
                loop {
                    connection.set::<_, _, ()>("other", &value).await.unwrap();
                }
            });
        }
        let mut pipeline = redis::pipe();
        for _ in 0..COMMANDS {
            pipeline.incr("n", 1);
        }
        for round in 0..10 {
            let script = make_silent(server, 105 + 5 * round);
            let replies: Vec<u64> = pipeline.query_async(&mut connection).await.unwrap();
            let before = COMMANDS * round;
            assert!(replies.into_iter().eq(before + 1..=before + COMMANDS), "{}", server.flavor());
            script.join();
        }
        tasks.abort_all();
    });
}

#[test]
fn a_command_whose_reply_nobody_wants_is_not_lost() {
    run(async |server, client| {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let script = make_busy(server, 400);
        redis::cmd("INCR").arg("n").set_no_response(true).exec_async(&mut connection).await.unwrap();
        assert_eq!(connection.get::<_, u64>("n").await.unwrap(), 1, "{}", server.flavor());
        script.join();
    });
}

#[test]
fn an_empty_pipeline_is_the_same_error_as_ever() {
    run(async |_, client| {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let error = redis::pipe().query_async::<()>(&mut connection).await.unwrap_err();
        assert_eq!(error.kind(), redis::ErrorKind::Client);
    });
}

#[test]
fn a_lazy_manager_connects_while_the_server_is_busy() {
    run(async |server, _| {
        // With a database of its own it is rejected while it connects.
        let client = unbusy::Client::open(format!("{}/1", server.url())).unwrap();
        let mut manager = client.get_connection_manager_lazy(ManagerConfig::new()).unwrap();
        let script = make_busy(server, 400);
        assert_eq!(manager.incr::<_, _, u64>("n", 1).await.unwrap(), 1);
        script.join();
    });
}

/// What a cache answers while the server is busy does not count as the server's.
#[cfg(feature = "cache-aio")]
#[test]
fn a_cached_reply_gives_no_lease() {
    const COMMANDS: u64 = 1_000;
    run(async |server, _| {
        let client = unbusy::Client::open(format!("{}?protocol=resp3", server.url())).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let config = config.set_cache_config(redis::caching::CacheConfig::new());
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut pipeline = redis::pipe();
        (0..COMMANDS).for_each(|_| _ = pipeline.incr("n", 1));
        connection.set::<_, _, ()>("k", "v").await.unwrap();
        assert_eq!(connection.get::<_, String>("k").await.unwrap(), "v");
        let script = make_busy(server, 800);
        // The lease is over: a threshold has passed since the server was last heard of.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(connection.get::<_, String>("k").await.unwrap(), "v");
        let replies: Vec<u64> = pipeline.query_async(&mut connection).await.unwrap();
        script.join();
        assert!(replies.into_iter().eq(1..=COMMANDS));
        assert_eq!(connection.get_cache_statistics().unwrap().hit, 1);
        assert!(server.rejections() < COMMANDS / 10, "{}: {}", server.flavor(), server.rejections());
    });
}

/// The same for a pipeline that goes straight, under a lease that it must not prolong.
#[cfg(feature = "cache-aio")]
#[test]
fn a_cached_pipeline_gives_no_lease() {
    const COMMANDS: u64 = 1_000;
    run(async |server, _| {
        let client = unbusy::Client::open(format!("{}?protocol=resp3", server.url())).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let config = config.set_cache_config(redis::caching::CacheConfig::new());
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let (mut cached, mut counted) = (redis::pipe(), redis::pipe());
        cached.get("k");
        (0..COMMANDS).for_each(|_| _ = counted.incr("n", 1));
        connection.set::<_, _, ()>("k", "v").await.unwrap();
        assert_eq!(connection.get::<_, String>("k").await.unwrap(), "v");
        let script = make_silent(server, 800);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(250) {
            let (value,): (String,) = cached.query_async(&mut connection).await.unwrap();
            assert_eq!(value, "v");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let replies: Vec<u64> = counted.query_async(&mut connection).await.unwrap();
        script.join();
        assert!(replies.into_iter().eq(1..=COMMANDS));
        assert!(server.rejections() < COMMANDS / 10, "{}: {}", server.flavor(), server.rejections());
    });
}
