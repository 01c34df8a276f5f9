//! The `redis` crate, unchanged, through the proxy while the server is busy: no errors, and the data are exactly what
//! one run of the commands gives.
mod e2e_support;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::mpsc,
    thread,
    time::Duration,
};

use e2e_support::{PATIENCE, on_every_server, proxy, wait_until};
use futures_util::StreamExt as _;
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, Client, Commands as _, Connection, PushInfo, PushKind,
    RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    streams::{StreamReadOptions, StreamReadReply},
};
use testkit::{BusyScript, Client as Direct, Flavor, Proxy, Reply, Server};

const SCRIPT: Duration = Duration::from_millis(800);
const PIPELINE: usize = 100;
const BIG: usize = 10_000_000;

// === Blocking connections

/// Commands on a connection that was there before the script; each has one of its own.
type Scenario = (&'static str, fn(&mut Connection) -> RedisResult<()>);

const SCENARIOS: &[Scenario] = &[
    ("single commands", single_commands),
    ("a pipeline", pipeline),
    ("a transaction", transaction),
    ("a transaction with WATCH", watched_transaction),
    ("a script by its hash", script_by_hash),
    ("administration", administration),
    ("an iteration", iteration),
    ("a big value", big_value),
];

#[test]
fn blocking_connections() {
    on_every_server(|server, proxy| {
        let expected = data_of_one_run(server, || {
            for (name, scenario) in SCENARIOS {
                assert_eq!(scenario(&mut connect(&server.url())), Ok(()), "{name}");
            }
        });
        let connections: Vec<_> = SCENARIOS.iter().map(|_| connect(&proxy.url())).collect();
        while_busy(server, || {
            let all = SCENARIOS.iter().zip(connections);
            at_once(all.map(|((name, scenario), mut c)| (*name, move || scenario(&mut c))));
        });
        assert_data(server, &expected);
    });
}

#[test]
fn commands_that_block() {
    on_every_server(|server, proxy| {
        let mut list = connect(&proxy.url());
        let mut stream = connect(&proxy.url());
        thread::scope(|scope| {
            let waiting = while_busy(server, || {
                let list = scope.spawn(move || list.blpop::<_, (String, String)>("list", 0.0));
                let options = StreamReadOptions::default().block(0);
                let stream = scope.spawn(move || {
                    stream.xread_options::<_, _, StreamReadReply>(&["stream"], &["$"], &options)
                });
                (list, stream)
            });
            let mut direct = server.client();
            wait_until("both wait", || direct.cmd(&["INFO", "clients"]).text().contains("blocked_clients:2"));
            assert_eq!(direct.cmd(&["RPUSH", "list", "x"]).integer(), 1);
            assert_eq!(direct.cmd(&["XADD", "stream", "1-1", "f", "v"]).text(), "1-1");
            let element = waiting.0.join().expect("BLPOP");
            assert_eq!(element, Ok(("list".into(), "x".into())));
            let entries = waiting.1.join().expect("XREAD").expect("an entry");
            assert_eq!(entries.keys[0].ids.len(), 1);
            let entry = Reply::Array(vec![text("1-1"), Reply::Array(vec![text("f"), text("v")])]);
            assert_data(server, &[((0, "stream".into()), Reply::Array(vec![entry]))].into());
        });
    });
}

#[test]
fn functions() {
    for flavor in [Flavor::Redis70, Flavor::Valkey91] {
        let server = Server::start(flavor);
        let proxy = proxy(&server, &[]);
        let library = "#!lua name=lib\nredis.register_function('add', \
                       function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)";
        assert_eq!(server.client().cmd(&["FUNCTION", "LOAD", library]).text(), "lib");
        let mut connection = connect(&proxy.url());
        let call =
            |c: &mut Connection| redis::cmd("FCALL").arg("add").arg(1).arg("n").arg(3).query::<usize>(c);
        while_busy(&server, || assert_eq!(call(&mut connection), Ok(3)));
        assert_eq!(call(&mut connection), Ok(6));
        assert_data(&server, &numbers([(0, "n", 6)]));
    }
}

/// The script changes the watched key: the first try is lost, never wrongly won.
#[test]
fn a_lost_race_for_a_watched_key() {
    on_every_server(|server, proxy| {
        let mut connection = connect(&proxy.url());
        let mut script = None;
        let mut tries = 0;
        let (now,): (usize,) = redis::transaction(&mut connection, &["k"], |c, pipe| {
            tries += 1;
            let old: Option<usize> = c.get("k")?;
            if tries == 1 {
                let running = BusyScript::start_with_key(server.address(), SCRIPT, "k");
                running.wait_until_busy(server.address());
                script = Some(running);
            }
            pipe.set("k", old.unwrap_or(0) + 10).ignore().get("k").query(c)
        })
        .expect("a transaction that is tried again");
        // The second try may watch the key before the script writes it, and then loses as well.
        assert_eq!(now, 11);
        assert!((2..=3).contains(&tries), "{tries} tries");
        script.expect("the script").join();
        assert_data(server, &numbers([(0, "k", 11)]));
    });
}

#[test]
fn new_connections_with_a_database_a_login_and_a_protocol() {
    on_every_server(|server, proxy| {
        let rule = ["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all"];
        assert!(server.client().cmd(&rule).is_ok());
        let place = proxy.address();
        let urls: Vec<_> = (1..=8)
            .flat_map(|db| {
                let plain = format!("redis://{place}/{db}");
                let rich = format!("redis://app:secret@{place}/{db}?protocol=resp3");
                [plain, rich]
            })
            .collect();
        while_busy(server, || {
            at_once(
                urls.iter().map(|url| (url, move || connect(url).incr::<_, _, usize>("k", 1).map(|_| ()))),
            );
        });
        assert_data(server, &numbers((1..=8).map(|db| (db, "k", 2))));
    });
}

#[test]
fn subscriptions() {
    on_every_server(|server, proxy| {
        let mut connection = connect(&proxy.url());
        let mut subscriber = connection.as_pubsub();
        while_busy(server, || {
            assert_eq!(subscriber.subscribe(&["a", "b"]), Ok(()));
            assert_eq!(subscriber.psubscribe("p*"), Ok(()));
        });
        let publisher = publish_while_busy(server, proxy, &["a", "pattern"]);
        for channel in ["a", "pattern"] {
            let message = subscriber.get_message().expect("a message");
            assert_eq!(message.get_channel_name(), channel);
            assert_eq!(message.get_payload::<String>().as_deref(), Ok("hello"));
        }
        assert_eq!(publisher, [1, 1]);
        assert_data(server, &Data::new());
    });
}

#[test]
fn subscriptions_in_resp3() {
    on_every_server(|server, proxy| {
        let mut connection = connect(&format!("{}?protocol=resp3", proxy.url()));
        let (sender, pushes) = mpsc::channel();
        connection.set_push_sender(sender);
        while_busy(server, || {
            assert_eq!(connection.subscribe_resp3("a"), Ok(()));
            assert_eq!(connection.incr("n", 1), Ok(1));
        });
        assert_eq!(publish_while_busy(server, proxy, &["a"]), [1]);
        assert_eq!(connection.incr("n", 1), Ok(2));
        let kinds: Vec<PushKind> = pushes.try_iter().map(|push: PushInfo| push.kind).collect();
        assert_eq!(kinds, [PushKind::Subscribe, PushKind::Message]);
        assert_data(server, &numbers([(0, "n", 2)]));
    });
}

/// How many subscribers got each message.
fn publish_while_busy(server: &Server, proxy: &Proxy, channels: &[&str]) -> Vec<usize> {
    let mut publisher = connect(&proxy.url());
    while_busy(server, || {
        let publish = |channel: &&str| publisher.publish(*channel, "hello").expect("PUBLISH");
        channels.iter().map(publish).collect()
    })
}

fn connect(url: &str) -> Connection {
    let connection = Client::open(url).and_then(|client| client.get_connection());
    let connection = connection.unwrap_or_else(|e| panic!("{url}: {e}"));
    connection.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    connection
}

/// Runs each of them in a thread of its own; none may fail.
fn at_once<N, W>(work: impl Iterator<Item = (N, W)>)
where
    N: std::fmt::Display,
    W: FnOnce() -> RedisResult<()> + Send,
{
    thread::scope(|scope| {
        let running: Vec<_> = work.map(|(name, work)| (name, scope.spawn(work))).collect();
        for (name, thread) in running {
            let result = thread.join().unwrap_or_else(|_| panic!("{name}: its panic is above"));
            assert_eq!(result, Ok(()), "{name}");
        }
    });
}

fn single_commands(c: &mut Connection) -> RedisResult<()> {
    let () = c.set("single", "value")?;
    assert_eq!(c.incr::<_, _, usize>("single:n", 1)?, 1);
    assert_eq!(c.get::<_, String>("single")?, "value");
    assert_eq!(c.lpush::<_, _, usize>("single:list", &["a", "b", "c"])?, 3);
    assert_eq!(c.lrange::<_, Vec<String>>("single:list", 0, -1)?, ["c", "b", "a"]);
    Ok(())
}

fn pipeline(c: &mut Connection) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    (0..PIPELINE).for_each(|_| _ = pipe.incr("pipeline", 1));
    let counted: Vec<usize> = pipe.query(c)?;
    assert_eq!(counted, (1..=PIPELINE).collect::<Vec<_>>());
    Ok(())
}

fn transaction(c: &mut Connection) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    pipe.atomic();
    (0..PIPELINE).for_each(|_| _ = pipe.incr("transaction", 1));
    let counted: Vec<usize> = pipe.query(c)?;
    assert_eq!(counted, (1..=PIPELINE).collect::<Vec<_>>());
    Ok(())
}

fn watched_transaction(c: &mut Connection) -> RedisResult<()> {
    let (now,): (usize,) = redis::transaction(c, &["watched"], |c, pipe| {
        let old: usize = c.get("watched")?;
        pipe.set("watched", old + 1).ignore().get("watched").query(c)
    })?;
    assert_eq!(now, 6);
    Ok(())
}

fn script_by_hash(c: &mut Connection) -> RedisResult<()> {
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(script.key("script").arg(2).invoke::<usize>(c)?, 2);
    assert_eq!(script.key("script").arg(3).invoke::<usize>(c)?, 5);
    Ok(())
}

fn administration(c: &mut Connection) -> RedisResult<()> {
    let info: redis::InfoDict = redis::cmd("INFO").query(c)?;
    assert_eq!(info.get::<String>("role").as_deref(), Some("master"));
    assert!(redis::cmd("CLIENT").arg("ID").query::<usize>(c)? > 0);
    let () = redis::cmd("CLIENT").arg("SETNAME").arg("somebody").query(c)?;
    let list: String = redis::cmd("CLIENT").arg("LIST").query(c)?;
    assert!(list.contains("name=somebody"), "{list}");
    Ok(())
}

fn iteration(c: &mut Connection) -> RedisResult<()> {
    let found: BTreeSet<String> = c.scan_match("scanned:*")?.collect::<RedisResult<_>>()?;
    assert_eq!(found.len(), SCANNED);
    Ok(())
}

fn big_value(c: &mut Connection) -> RedisResult<()> {
    let value = vec![b'x'; BIG];
    let () = c.set("big", &value)?;
    assert!(c.get::<_, Vec<u8>>("big")? == value);
    Ok(())
}

const SCANNED: usize = 500;

/// What the scenarios find.
fn prepare(server: &Server) {
    let mut direct = server.client();
    assert!(direct.cmd(&["SET", "watched", "5"]).is_ok());
    for n in 0..SCANNED {
        assert!(direct.cmd(&["SET", &format!("scanned:{n}"), ""]).is_ok());
    }
}

/// All keys of all databases, and their values.
type Data = BTreeMap<(usize, String), Reply>;

/// The server has these data and no others.
fn assert_data(server: &Server, expected: &Data) {
    let found = data(server);
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let wrong = keys.into_iter().filter(|key| found.get(key) != expected.get(key));
    let wrong: Vec<_> = wrong.map(|key| (key, shown(found.get(key)), shown(expected.get(key)))).collect();
    assert!(wrong.is_empty(), "{}: keys, found and expected values: {wrong:?}", server.flavor());
}

/// Values can be too big to be printed.
fn shown(value: Option<&Reply>) -> String {
    format!("{value:?}").chars().take(80).collect()
}

/// What the scenarios leave behind, one after the other, on a server that has time for them. Afterwards it is as it was
/// before them.
fn data_of_one_run(server: &Server, run: impl FnOnce()) -> Data {
    prepare(server);
    run();
    let data = data(server);
    let mut direct = server.client();
    assert!(direct.cmd(&["FLUSHALL"]).is_ok());
    assert!(direct.cmd(&["SCRIPT", "FLUSH"]).is_ok());
    prepare(server);
    data
}

fn data(server: &Server) -> Data {
    let mut direct = server.client();
    let mut data = Data::new();
    for db in 0..16 {
        assert!(direct.cmd(&["SELECT", &db.to_string()]).is_ok());
        for key in direct.cmd(&["KEYS", "*"]).items() {
            let value = value(&mut direct, &key.text());
            data.insert((db, key.text()), value);
        }
    }
    data
}

fn value(direct: &mut Direct, key: &str) -> Reply {
    match &*direct.cmd(&["TYPE", key]).text() {
        "string" => direct.cmd(&["GET", key]),
        "list" => direct.cmd(&["LRANGE", key, "0", "-1"]),
        "stream" => direct.cmd(&["XRANGE", key, "-", "+"]),
        other => panic!("{key} is a {other}"),
    }
}

/// Numbers in these databases, under these keys.
fn numbers(values: impl IntoIterator<Item = (usize, &'static str, usize)>) -> Data {
    values.into_iter().map(|(db, key, value)| ((db, key.into()), text(&value.to_string()))).collect()
}

fn text(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

/// Does the work from the moment that the server is busy, and makes sure that some of it was rejected.
fn while_busy<T>(server: &Server, work: impl FnOnce() -> T) -> T {
    let before = server.rejections();
    let script = BusyScript::start(server.address(), SCRIPT);
    script.wait_until_busy(server.address());
    let result = work();
    script.join();
    // One rejection is that of the question whether the server is busy.
    assert!(server.rejections() > before + 1, "nothing was held");
    result
}

// === Connections for tokio

/// The library's own limits of half a second would fire in the script, as they would in any slow command.
fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_connection_timeout(Some(PATIENCE))
}

type AsyncScenario =
    (&'static str, fn(MultiplexedConnection) -> Pin<Box<dyn Future<Output = RedisResult<()>> + Send>>);

const ASYNC_SCENARIOS: &[AsyncScenario] = &[
    ("single commands", |c| Box::pin(async_single_commands(c))),
    ("many tasks on one connection", |c| Box::pin(async_tasks(c))),
    ("a pipeline", |c| Box::pin(async_pipeline(c, "pipeline", false))),
    ("a transaction", |c| Box::pin(async_pipeline(c, "transaction", true))),
    ("a transaction with WATCH", |c| Box::pin(async_watched(c))),
    ("a script by its hash", |c| Box::pin(async_script(c))),
    ("an iteration", |c| Box::pin(async_iteration(c))),
    ("a big value", |c| Box::pin(async_big_value(c))),
];

#[test]
fn tokio_connections() {
    on_every_server(|server, proxy| {
        let expected = data_of_one_run(server, || {
            on_tokio(async {
                for (name, scenario) in ASYNC_SCENARIOS {
                    let connection = async_connect(&server.url()).await;
                    assert_eq!(scenario(connection).await, Ok(()), "{name}");
                }
            });
        });
        on_tokio(async {
            let mut connections = Vec::new();
            for _ in ASYNC_SCENARIOS {
                connections.push(async_connect(&proxy.url()).await);
            }
            let tasks = while_busy(server, || {
                let all = ASYNC_SCENARIOS.iter().zip(connections);
                all.map(|((name, scenario), c)| (name, tokio::spawn(scenario(c)))).collect::<Vec<_>>()
            });
            for (name, task) in tasks {
                assert_eq!(task.await.expect("no panic"), Ok(()), "{}: {name}", server.flavor());
            }
        });
        assert_data(server, &expected);
    });
}

async fn async_single_commands(mut c: MultiplexedConnection) -> RedisResult<()> {
    let () = c.set("single", "value").await?;
    assert_eq!(c.incr::<_, _, usize>("single:n", 1).await?, 1);
    assert_eq!(c.get::<_, String>("single").await?, "value");
    assert_eq!(c.lpush::<_, _, usize>("single:list", &["a", "b", "c"]).await?, 3);
    Ok(())
}

async fn async_tasks(c: MultiplexedConnection) -> RedisResult<()> {
    let increment = |mut c: MultiplexedConnection| async move { c.incr::<_, _, usize>("tasks", 1).await };
    let tasks: Vec<_> = (0..PIPELINE).map(|_| tokio::spawn(increment(c.clone()))).collect();
    let mut counted = BTreeSet::new();
    for task in tasks {
        counted.insert(task.await.expect("no panic")?);
    }
    assert_eq!(counted, (1..=PIPELINE).collect());
    Ok(())
}

async fn async_pipeline(mut c: MultiplexedConnection, key: &str, atomic: bool) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    if atomic {
        pipe.atomic();
    }
    (0..PIPELINE).for_each(|_| _ = pipe.incr(key, 1));
    let counted: Vec<usize> = pipe.query_async(&mut c).await?;
    assert_eq!(counted, (1..=PIPELINE).collect::<Vec<_>>());
    Ok(())
}

async fn async_watched(c: MultiplexedConnection) -> RedisResult<()> {
    let (now,): (usize,) =
        redis::aio::transaction_async(c, &["watched"], |mut c: MultiplexedConnection, mut pipe| async move {
            let old: usize = c.get("watched").await?;
            pipe.set("watched", old + 1).ignore().get("watched").query_async(&mut c).await
        })
        .await?;
    assert_eq!(now, 6);
    Ok(())
}

async fn async_script(mut c: MultiplexedConnection) -> RedisResult<()> {
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(script.key("script").arg(2).invoke_async::<usize>(&mut c).await?, 2);
    assert_eq!(script.key("script").arg(3).invoke_async::<usize>(&mut c).await?, 5);
    Ok(())
}

async fn async_iteration(mut c: MultiplexedConnection) -> RedisResult<()> {
    let mut found = BTreeSet::new();
    let mut keys = c.scan_match::<_, String>("scanned:*").await?;
    while let Some(key) = keys.next().await {
        found.insert(key?);
    }
    assert_eq!(found.len(), SCANNED);
    Ok(())
}

async fn async_big_value(mut c: MultiplexedConnection) -> RedisResult<()> {
    let value = vec![b'x'; BIG];
    let () = c.set("big", &value).await?;
    assert!(c.get::<_, Vec<u8>>("big").await? == value);
    Ok(())
}

#[test]
fn new_tokio_connections() {
    on_every_server(|server, proxy| {
        on_tokio(async {
            let base = proxy.url();
            let connecting = while_busy(server, || {
                let urls = (1..=8).map(|db| format!("{base}/{db}?protocol=resp3"));
                urls.map(|url| tokio::spawn(async move { async_connect(&url).await.incr("k", 1).await }))
                    .collect::<Vec<_>>()
            });
            for task in connecting {
                assert_eq!(task.await.expect("no panic"), Ok(1));
            }
        });
        assert_data(server, &numbers((1..=8).map(|db| (db, "k", 1))));
    });
}

/// The connection manager connects anew by itself; it must never have a reason to.
#[test]
fn connection_manager() {
    on_every_server(|server, proxy| {
        on_tokio(async {
            let client = Client::open(format!("{}/1", proxy.url())).expect("a URL");
            let config = ConnectionManagerConfig::new()
                .set_response_timeout(Some(PATIENCE))
                .set_connection_timeout(Some(PATIENCE));
            let tasks = while_busy(server, || {
                let connect = ConnectionManager::new_with_config(client, config);
                vec![tokio::spawn(async move {
                    let mut manager = connect.await?;
                    for n in 1..=PIPELINE {
                        assert_eq!(manager.incr("k", 1).await, Ok(n));
                    }
                    RedisResult::Ok(())
                })]
            });
            for task in tasks {
                assert_eq!(task.await.expect("no panic"), Ok(()));
            }
        });
        assert_data(server, &numbers([(1, "k", PIPELINE)]));
    });
}

#[test]
fn tokio_subscriptions() {
    on_every_server(|server, proxy| {
        on_tokio(async {
            let client = Client::open(proxy.url()).expect("a URL");
            let subscribing = while_busy(server, || {
                tokio::spawn(async move {
                    let mut subscriber = client.get_async_pubsub().await?;
                    subscriber.subscribe(&["a", "b"]).await?;
                    subscriber.psubscribe("p*").await?;
                    RedisResult::Ok(subscriber)
                })
            });
            let subscriber = subscribing.await.expect("no panic").expect("subscribed");
            let mut publisher = async_connect(&proxy.url()).await;
            let publishing = while_busy(server, || {
                tokio::spawn(async move { publisher.publish::<_, _, usize>("pattern", "hello").await })
            });
            assert_eq!(publishing.await.expect("no panic"), Ok(1));
            let message = subscriber.into_on_message().next().await.expect("a message");
            assert_eq!(message.get_channel_name(), "pattern");
            assert_eq!(message.get_payload::<String>().as_deref(), Ok("hello"));
        });
        assert_data(server, &Data::new());
    });
}

async fn async_connect(url: &str) -> MultiplexedConnection {
    let client = Client::open(url).expect("a URL");
    client
        .get_multiplexed_async_connection_with_config(&patient())
        .await
        .unwrap_or_else(|e| panic!("{url}: {e}"))
}

/// The future may block: its tasks run on threads of their own.
fn on_tokio(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(future);
}
