//! Blocking connections on servers that are busy.
mod common;
#[path = "common/trace.rs"]
mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{client, make_busy, make_silent, on_every_server};
use redis::{Commands, Connection, RedisResult, Script, Value};
use testkit::{BusyScript, Flavor, Server};
use unbusy::{Event, Policy};

#[test]
fn commands_wait_and_are_executed_once() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let script = make_busy(server, 600);
        let count: u64 = connection.incr("n", 1).unwrap();
        let (_, end) = script.join();
        assert!(end.elapsed() < Duration::from_millis(500), "it waited much longer than the script");
        assert_eq!(count, 1);
        assert_eq!(connection.get::<_, u64>("n").unwrap(), 1);
    });
}

/// BLPOP is silent when it is accepted, and so is the server at times, while a script waits for a slow command of its own.
#[test]
fn a_silent_script_is_one_episode_also_for_those_who_wait_for_jobs() {
    on_every_server(|server, client| {
        let episodes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&episodes);
        let policy = Policy::default().on_event(move |_, event| {
            counter.fetch_add(usize::from(matches!(event, Event::EpisodeBegan { .. })), Relaxed);
        });
        let client = client.with_policy(&policy);
        let mut connections: Vec<_> = (0..3).map(|_| client.get_connection().unwrap()).collect();
        let script = BusyScript::start_silent(server.address());
        script.wait_until_busy(server.address());
        thread::scope(|scope| {
            for connection in &mut connections {
                scope.spawn(|| connection.blpop::<_, (String, String)>("jobs", 0.0).unwrap());
            }
            script.join();
            for _ in 0..3 {
                server.client().cmd(&["RPUSH", "jobs", "job"]);
            }
        });
        assert_eq!(episodes.load(Relaxed), 1, "{}", server.flavor());
    });
}

#[test]
fn a_command_sent_in_the_silence_before_busy_waits_as_well() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let script = make_silent(server, 500);
        assert_eq!(connection.incr::<_, _, u64>("n", 1).unwrap(), 1);
        script.join();
        assert_eq!(connection.get::<_, u64>("n").unwrap(), 1);
    });
}

/// So that who looks at a trace sees where the time went.
#[test]
fn a_call_that_waited_says_so_in_the_span_of_its_caller() {
    let server = Server::start(Flavor::Redis70);
    let client = client(&server).with_policy(&Policy::default().max_wait(Duration::from_millis(1500)));
    let listener = trace::Listener::to("unbusy::calls");
    tracing::subscriber::with_default(listener.clone(), || {
        let mut connection = client.get_connection().unwrap();
        let _: u64 = tracing::info_span!("open").in_scope(|| connection.incr("n", 1).unwrap());
        assert_eq!(listener.events(), [""; 0]);
        let script = make_busy(&server, 600);
        let _: u64 = tracing::info_span!("busy").in_scope(|| connection.incr("n", 1).unwrap());
        script.join();
        let script = make_busy(&server, 60_000);
        let _ = tracing::info_span!("busy for long")
            .in_scope(|| connection.incr::<_, _, u64>("n", 1).unwrap_err());
        server.client().cmd(&["SCRIPT", "KILL"]);
        script.join();
    });
    let events = listener.events();
    let [held, given_up] = &events[..] else { panic!("{events:?}") };
    assert!(held.starts_with("busy:") && held.contains("held while the server was busy"), "{held}");
    assert!(given_up.starts_with("busy for long:") && given_up.contains("given up"), "{given_up}");
    let waited =
        |event: &str| event.split("waited_ms=").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>();
    assert!(waited(held).unwrap() > 0, "{held}");
    assert!(waited(given_up).unwrap() >= 1500, "{given_up}");
}

#[test]
fn pipelines_are_executed_once_and_in_order() {
    const COMMANDS: u64 = 20_000;
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let mut pipeline = redis::pipe();
        for _ in 0..COMMANDS {
            pipeline.incr("n", 1);
        }
        for millis in [110, 130, 300] {
            let script = make_silent(server, millis);
            let replies: Vec<u64> = pipeline.query(&mut connection).unwrap();
            assert!(replies.iter().copied().eq(1..=COMMANDS), "{}", server.flavor());
            script.join();
            assert_eq!(connection.get_del::<_, u64>("n").unwrap(), COMMANDS);
        }
    });
}

/// The one that is on its way when the script begins was sent as it is, under a lease.
#[test]
fn small_pipelines_one_after_another_go_through_a_script() {
    const COMMANDS: u64 = 50;
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
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
                let replies: Vec<u64> = pipeline.query(&mut connection).unwrap();
                assert!(replies.into_iter().eq(count + 1..=count + COMMANDS), "{}", server.flavor());
                count += COMMANDS;
            }
            script.join();
        }
    });
}

#[test]
fn atomic_pipelines_are_executed_as_a_whole() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let script = make_busy(server, 400);
        let replies: (u64, String) = redis::pipe()
            .atomic()
            .incr("n", 1)
            .set("k", "v")
            .ignore()
            .get("k")
            .query(&mut connection)
            .unwrap();
        assert_eq!(replies, (1, "v".into()));
        script.join();
    });
}

/// Sent by hand, but as one pipeline.
#[test]
fn transactions_in_pipelines_are_executed_as_a_whole_or_lose_their_watch() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let mut pipeline = redis::pipe();
        pipeline.set("before", 1).cmd("MULTI").incr("n", 1).cmd("EXEC").set("behind", 1);
        let script = make_busy(server, 400);
        let replies: Vec<Value> = pipeline.query(&mut connection).unwrap();
        let queued = Value::SimpleString("QUEUED".into());
        let executed = Value::Array(vec![Value::Int(1)]);
        assert_eq!(replies, [Value::Okay, Value::Okay, queued.clone(), executed, Value::Okay]);
        script.join();
        // First in its pipeline, so that the server is asked to begin it while it is busy.
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI").incr("n", 1).cmd("EXEC").set("behind", 2);
        redis::cmd("WATCH").arg("n").exec(&mut connection).unwrap();
        let script = make_busy(server, 400);
        let replies: Vec<Value> = pipeline.query(&mut connection).unwrap();
        assert_eq!(replies, [Value::Okay, queued, Value::Nil, Value::Okay], "start over");
        script.join();
        assert_eq!(connection.get::<_, u64>("n").unwrap(), 1, "{}", server.flavor());
    });
}

#[test]
fn a_transaction_of_single_commands_is_refused_in_the_servers_own_words() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        redis::cmd("MULTI").exec(&mut connection).unwrap();
        redis::cmd("INCR").arg("n").exec(&mut connection).unwrap();
        let script = make_busy(server, 600);
        // If the gate knows that the server is busy, EXEC waits for its end and is executed.
        let reply: RedisResult<Value> = redis::cmd("EXEC").query(&mut connection);
        script.join();
        match reply {
            Err(error) => {
                assert_eq!(error.code(), Some("EXECABORT"), "{error}");
                assert_eq!(connection.exists::<_, u64>("n").unwrap(), 0);
            }
            Ok(values) => {
                assert_eq!(values, Value::Array(vec![Value::Int(1)]));
                assert_eq!(connection.get::<_, u64>("n").unwrap(), 1);
            }
        }
        assert_eq!(connection.incr::<_, _, u64>("other", 1).unwrap(), 1, "out of the transaction");
    });
}

#[test]
fn a_watched_transaction_starts_over() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let mut tries = 0;
        let mut script = None;
        let (result,): (u64,) = redis::transaction(&mut connection, &["n"], |connection, pipeline| {
            tries += 1;
            let n: Option<u64> = connection.get("n")?;
            if tries == 1 {
                script = Some(make_busy(server, 400));
            }
            pipeline.set("n", n.unwrap_or(0) + 1).ignore().get("n").query(connection)
        })
        .unwrap();
        assert_eq!((result, tries), (1, 2));
        script.expect("a script").join();
    });
}

#[test]
fn connections_are_set_up_while_the_server_is_busy() {
    for flavor in Flavor::ALL {
        let server = Server::builder(flavor).arg("--requirepass").arg("secret").start();
        let mut direct = server.client();
        assert_eq!(direct.cmd(&["AUTH", "secret"]).text(), "OK");
        for protocol in ["resp2", "resp3"] {
            let url = format!("redis://:secret@{}/1?protocol={protocol}", server.address());
            let client = unbusy::Client::open(url).unwrap();
            direct.send_cmd(&["EVAL", testkit::busy_lua(), "0", "500"]);
            thread::sleep(Duration::from_millis(200));
            let mut connection = client.get_connection().unwrap();
            connection.set::<_, _, ()>("where", "here").unwrap();
            assert_eq!(direct.read_reply(), testkit::Reply::Integer(1));
            assert_eq!(direct.cmd(&["GET", "where"]), testkit::Reply::Null, "{flavor}: database 0");
            assert_eq!(connection.del::<_, u64>("where").unwrap(), 1);
        }
    }
}

#[test]
fn errors_that_only_look_like_busy_pass_and_nothing_runs_twice() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        let script = Script::new("redis.call('INCR', KEYS[1]) return redis.error_reply('BUSY not really')");
        let busy = make_busy(server, 400);
        let error = script.key("n").invoke::<()>(&mut connection).unwrap_err();
        assert_eq!(error.code(), Some("BUSY"));
        busy.join();
        assert_eq!(connection.get::<_, u64>("n").unwrap(), 1);
    });
}

#[test]
fn when_the_budget_is_over_the_servers_own_error_comes() {
    on_every_server(|server, _| {
        let policy = Policy::default().max_wait(Duration::from_millis(300));
        let client = client(server).with_policy(&policy);
        let mut connection = client.get_connection().unwrap();
        let script = make_busy(server, 1200);
        let start = Instant::now();
        let error = connection.incr::<_, _, u64>("n", 1).unwrap_err();
        let waited = start.elapsed();
        assert_eq!(error.code(), Some("BUSY"));
        assert!(error.detail().unwrap().contains("is busy running a script"));
        assert!(waited >= Duration::from_millis(300) && waited < Duration::from_millis(500), "{waited:?}");
        let errors: RedisResult<Vec<u64>> = redis::pipe().incr("n", 1).incr("n", 1).query(&mut connection);
        assert!(errors.is_err());
        script.join();
        assert_eq!(connection.incr::<_, _, u64>("n", 1).unwrap(), 1, "nothing was executed");
    });
}

#[test]
fn a_budget_of_zero_switches_it_off() {
    on_every_server(|server, _| {
        let client = client(server).with_policy(&Policy::default().max_wait(Duration::ZERO));
        let mut connection = client.get_connection().unwrap();
        let script = make_busy(server, 400);
        assert_eq!(connection.incr::<_, _, u64>("n", 1).unwrap_err().code(), Some("BUSY"));
        script.join();
    });
}

#[test]
fn the_wrapped_connection_is_at_hand() {
    on_every_server(|_, client| {
        let mut connection = client.get_connection().unwrap();
        let inner: &mut Connection = connection.get_mut();
        assert!(redis::ConnectionLike::check_connection(inner));
    });
}

#[test]
fn an_empty_pipeline_is_the_same_error_as_ever() {
    on_every_server(|_, client| {
        let error = redis::pipe().query::<()>(&mut client.get_connection().unwrap()).unwrap_err();
        assert_eq!(error.kind(), redis::ErrorKind::Client);
    });
}

#[test]
fn time_outs_can_be_set() {
    on_every_server(|server, client| {
        let mut connection = client.get_connection().unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        connection.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        let error = redis::cmd("BLPOP").arg("none").arg(1).query::<()>(&mut connection).unwrap_err();
        assert!(error.is_timeout(), "{}: {error}", server.flavor());
    });
}
