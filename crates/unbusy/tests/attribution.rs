//! Which script makes the server busy: the line about an episode's beginning tells, if this process sent it.
mod common;
#[path = "common/trace.rs"]
mod trace;

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use common::{client, on_every_server};
use redis::{Commands, ConnectionLike, RedisResult};
use testkit::{BusyScript, Flavor, Server, busy_lua};
use unbusy::Policy;

/// Longer than the threshold.
const SCRIPT: Duration = Duration::from_millis(300);
const SCRIPT_MILLIS: u64 = 300;
/// A quarter of the threshold.
const LEASE: Duration = Duration::from_millis(25);
/// So long after a command that was executed.
const WITH_A_LEASE_AND_WITHOUT: [Duration; 2] = [Duration::ZERO, Duration::from_millis(100)];

/// A line is written by whichever thread comes to know.
static LISTENER: LazyLock<trace::Listener> = LazyLock::new(|| {
    let listener = trace::Listener::to("unbusy::notices");
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    listener
});

/// The lines with which episodes of the server began.
fn episodes(server: &Server) -> Vec<String> {
    let is_one = |line: &String| line.contains("is busy; commands wait") && line.contains(server.address());
    LISTENER.events().into_iter().filter(is_one).collect()
}

/// The line about an episode, before which there were so many; meanwhile somebody else goes on asking.
fn meet(server: &Server, client: &unbusy::Client, before: usize) -> String {
    meet_while(server, client, before, || true).unwrap()
}

/// The same, unless there is none for so long.
fn meet_while(
    server: &Server,
    client: &unbusy::Client,
    before: usize,
    hope: impl Fn() -> bool,
) -> Option<String> {
    let mut connection = client.get_connection().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while episodes(server).len() == before {
        assert!(Instant::now() < deadline, "no line about the episode: {:?}", LISTENER.events());
        if !hope() {
            return None;
        }
        connection.get::<_, Option<u64>>("k").unwrap();
    }
    Some(episodes(server).swap_remove(before))
}

fn sha1(server: &Server, lua: &str) -> String {
    server.client().cmd(&["SCRIPT", "LOAD", lua]).text()
}

/// What somebody runs on a connection, while somebody else meets the busy server.
fn line_about<T: Send>(
    server: &Server,
    client: &unbusy::Client,
    run: impl FnOnce(&mut unbusy::Connection) -> RedisResult<T> + Send,
) -> String {
    let before = episodes(server).len();
    thread::scope(|scope| {
        let caller = scope.spawn(|| run(&mut client.get_connection().unwrap()).map(drop).unwrap());
        let line = meet(server, client, before);
        caller.join().unwrap();
        line
    })
}

#[test]
fn a_script_is_named_by_its_sha1_however_it_is_sent() {
    on_every_server(|server, client| {
        let flavor = server.flavor();
        let sha = sha1(server, busy_lua());
        let command = |name: &str, script: &str| {
            redis::cmd(name).arg(script).arg(1).arg("secret").arg(SCRIPT_MILLIS).take()
        };
        let (eval, evalsha) = (command("EVAL", busy_lua()), command("EVALSHA", &sha.to_uppercase()));
        let transaction = redis::pipe().atomic().set("k", 1).add_command(evalsha.clone()).clone();
        let lines = [
            line_about(server, &client, |connection| connection.req_command(&eval)),
            line_about(server, &client, |connection| {
                connection.req_packed_command(&evalsha.get_packed_command())
            }),
            line_about(server, &client, |connection| transaction.query::<()>(connection)),
        ];
        for line in lines {
            assert!(line.contains(&format!("script={sha:?}")), "{flavor}: {line}");
            let running = line.split("running_ms=").nth(1).unwrap().parse::<u64>().unwrap();
            assert!((100..10_000).contains(&running), "{flavor}: {line}");
            assert!(!line.contains("secret"), "no key is told: {line}");
        }
    });
}

#[test]
fn what_this_process_did_not_send_is_not_through_it() {
    on_every_server(|server, client| {
        LazyLock::force(&LISTENER);
        let script = BusyScript::start(server.address(), SCRIPT);
        let line = meet(server, &client, 0);
        assert!(line.contains("script=\"not through this process\""), "{}: {line}", server.flavor());
        assert!(!line.contains("running_ms"), "{line}");
        script.join();
    });
}

#[test]
fn a_function_is_named() {
    for flavor in [Flavor::Redis70, Flavor::Valkey91] {
        let server = Server::start(flavor);
        let library = format!(
            "#!lua name=lib\nredis.register_function{{function_name='slow', flags={{'no-writes'}}, callback=function(KEYS, ARGV) {} end}}",
            busy_lua()
                .replace("if redis.replicate_commands then redis.replicate_commands() end ", "")
                .replace("rawget(_G, 'os')", "nil")
        );
        assert_eq!(server.client().cmd(&["FUNCTION", "LOAD", &library]).text(), "lib", "{flavor}");
        let call = redis::cmd("FCALL").arg("slow").arg(0).arg(SCRIPT_MILLIS).take();
        let line = line_about(&server, &client(&server), |connection| call.query::<()>(connection));
        assert!(line.contains(r#"cause="function" script="function \"slow\"""#), "{flavor}: {line}");
    }
}

/// The server answers when the last one has run, so nobody can know which of them it is.
#[test]
fn of_several_in_one_pipeline_the_first_is_named_and_that_it_may_be_another() {
    on_every_server(|server, client| {
        // So that they go at once, whether a lease runs or not.
        let client = client.with_policy(&Policy::default().relaxed());
        let fast = sha1(server, "return 1");
        let pipeline = (redis::pipe().cmd("PING"))
            .cmd("EVALSHA")
            .arg(&fast)
            .arg(0)
            .cmd("EVAL")
            .arg(busy_lua())
            .arg(0)
            .arg(SCRIPT_MILLIS)
            .clone();
        let line = line_about(server, &client, |connection| pipeline.query::<()>(connection));
        assert!(line.contains(&format!("script=\"{fast}, or another one")), "{}: {line}", server.flavor());
    });
}

/// The connection gives up, and the server goes on.
#[test]
fn one_that_timed_out_is_named() {
    let server = Server::start(Flavor::Valkey91);
    let client = client(&server);
    let sha = sha1(&server, busy_lua());
    LazyLock::force(&LISTENER);
    for (number, pause) in WITH_A_LEASE_AND_WITHOUT.into_iter().enumerate() {
        let mut connection = client.get_connection().unwrap();
        connection.set_read_timeout(Some(LEASE)).unwrap();
        connection.ping::<()>().unwrap();
        thread::sleep(pause);
        let slow = redis::cmd("EVALSHA").arg(&sha).arg(0).arg(SCRIPT_MILLIS).query::<u64>(&mut connection);
        assert!(slow.unwrap_err().is_timeout());
        let line = meet(&server, &client, number);
        assert!(line.contains(&format!("{sha}, unless it is over")), "{line}");
    }
}

/// A command that the server keeps waiting is not sent along with a script, which would look as if it ran as long.
#[test]
fn a_script_in_front_of_a_blocking_command_is_not_blamed() {
    let server = Server::start(Flavor::Redis70);
    let client = client(&server);
    let mut connection = client.get_connection().unwrap();
    let pipeline = redis::pipe().cmd("EVAL").arg("return 1").arg(0).blpop("queue", 5.0).clone();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            connection.ping::<()>()?;
            pipeline.query::<(u64, (String, String))>(&mut connection)
        });
        while !server.client().cmd(&["INFO", "clients"]).text().contains("blocked_clients:1") {
            thread::sleep(Duration::from_millis(2));
        }
        LazyLock::force(&LISTENER);
        let script = BusyScript::start(server.address(), SCRIPT);
        let line = meet(&server, &client, 0);
        assert!(line.contains("not through this process"), "{line}");
        script.join();
        server.client().cmd(&["RPUSH", "queue", "job"]);
        assert_eq!(waiting.join().unwrap().unwrap(), (1, ("queue".into(), "job".into())));
    });
}

#[cfg(feature = "aio")]
mod aio {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use redis::AsyncCommands;
    use redis::aio::ConnectionLike;
    use tokio::runtime::Builder;
    use tokio::task::JoinSet;
    use unbusy::aio::Connection;

    use super::*;

    const TASKS: usize = 20;
    /// So many of them are slow, one after the other.
    const SLOW: usize = 3;

    fn text(number: usize) -> String {
        format!("local number = {number} {}", busy_lua())
    }

    async fn run(connection: &mut impl ConnectionLike, number: usize, millis: u64) -> RedisResult<u64> {
        redis::cmd("EVAL").arg(text(number)).arg(0).arg(millis).query_async(connection).await
    }

    /// The lines about slow scripts, each with the SHA-1 of its script. They are sent on the last of the connections while all
    /// others run theirs, each on the next connection.
    fn lines_about_slow_ones(connections: usize) -> Vec<(String, String)> {
        let server = Server::start(Flavor::Redis70);
        let client = client(&server);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut lines: Vec<Connection> = Vec::new();
            for _ in 0..connections {
                lines.push(client.get_multiplexed_async_connection().await.unwrap());
            }
            let over = Arc::new(AtomicBool::new(false));
            let mut tasks = JoinSet::new();
            let slow = lines.last().unwrap().clone();
            let others = &lines[..(connections - 1).max(1)];
            for (number, connection) in (SLOW..TASKS).zip(others.iter().cycle()) {
                let (mut connection, over) = (connection.clone(), Arc::clone(&over));
                tasks.spawn(async move {
                    while !over.load(Relaxed) {
                        assert_eq!(run(&mut connection, number, 1).await.unwrap(), 1);
                    }
                });
            }
            let mut told = Vec::new();
            LazyLock::force(&LISTENER);
            for number in 0..SLOW {
                let sha = sha1(&server, &text(number));
                // Who asks may be one whose script lies behind the slow one on its connection, so that no answer comes.
                let line = loop {
                    let mut slow = slow.clone();
                    let slow = tokio::spawn(async move { run(&mut slow, number, SCRIPT_MILLIS).await });
                    let line = meet_while(&server, &client, number, || !slow.is_finished());
                    assert_eq!(slow.await.unwrap().unwrap(), 1);
                    if let Some(line) = line {
                        break line;
                    }
                };
                told.push((line, sha));
            }
            over.store(true, Relaxed);
            tasks.join_all().await;
            told
        })
    }

    #[test]
    fn among_the_scripts_of_many_tasks_the_slow_one_is_named() {
        for (line, sha) in lines_about_slow_ones(3) {
            assert!(line.contains(&format!("script={sha:?}")), "{sha}: {line}");
        }
    }

    /// What the server answers to one it keeps back while it runs the next that it has read.
    #[test]
    fn among_those_on_its_own_connection_it_is_named_or_one_of_them() {
        for (line, sha) in lines_about_slow_ones(1) {
            assert!(line.contains(&sha) || line.contains(", or another one"), "{sha}: {line}");
            assert!(!line.contains("not through this process"), "{line}");
        }
    }

    #[test]
    fn one_whose_caller_is_gone_is_named_until_the_server_shows_that_it_is_over() {
        let server = Server::start(Flavor::Redis70);
        let (client, sha) = (client(&server), sha1(&server, &text(0)));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        LazyLock::force(&LISTENER);
        for (number, pause) in WITH_A_LEASE_AND_WITHOUT.into_iter().enumerate() {
            runtime.block_on(async {
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                connection.ping::<()>().await.unwrap();
                tokio::time::sleep(pause).await;
                let slow = run(&mut connection, 0, SCRIPT_MILLIS);
                tokio::time::timeout(LEASE, slow).await.unwrap_err();
            });
            let line = meet(&server, &client, 2 * number);
            assert!(line.contains(&format!("{sha}, unless it is over")), "{line}");
            let script = BusyScript::start(server.address(), SCRIPT);
            let line = meet(&server, &client, 2 * number + 1);
            assert!(line.contains("not through this process"), "{line}");
            script.join();
        }
    }
}
