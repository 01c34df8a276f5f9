//! Many callers, blocking and asynchronous, wait at one gate.
#![cfg(feature = "aio")]
mod common;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::{make_busy, on_every_server};
use redis::{AsyncCommands, Commands};
use tokio::task::JoinSet;

const TASKS: usize = 1_000;
const THREADS: usize = 200;

#[test]
fn a_thousand_tasks_and_two_hundred_threads_wait_for_one_asker() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    on_every_server(|server, client| {
        let mut connections: Vec<_> = (0..THREADS).map(|_| client.get_connection().unwrap()).collect();
        let shared = runtime.block_on(client.get_multiplexed_async_connection()).unwrap();
        for connection in &mut connections {
            connection.ping::<()>().unwrap();
        }
        let ready = Barrier::new(THREADS + 1);
        let (ends, script) = thread::scope(|scope| {
            let threads: Vec<_> = (connections.iter_mut())
                .map(|connection| {
                    let ready = &ready;
                    scope.spawn(move || {
                        ready.wait();
                        connection.incr::<_, _, u64>("n", 1).unwrap();
                        Instant::now()
                    })
                })
                .collect();
            let script = make_busy(server, 3_000);
            ready.wait();
            let mut tasks = JoinSet::new();
            for _ in 0..TASKS {
                let mut connection = shared.clone();
                let task = async move {
                    connection.incr::<_, _, u64>("n", 1).await.unwrap();
                    Instant::now()
                };
                tasks.spawn_on(task, runtime.handle());
            }
            let mut ends = runtime.block_on(tasks.join_all());
            ends.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
            (ends, script)
        });
        let (_, end) = script.join();
        assert_eq!(connections[0].get::<_, usize>("n").unwrap(), TASKS + THREADS);
        let mut late: Vec<_> = ends.iter().map(|at| at.saturating_duration_since(end)).collect();
        late.sort();
        let (most, flavor) = (late[late.len() * 99 / 100], server.flavor());
        assert!(most <= Duration::from_millis(50), "{flavor}: {most:?}");
        // At most one asks at a time, every 6 ms; whoever came before BUSY was known is rejected once.
        let rejected = server.rejections();
        assert!(rejected <= 550, "{flavor}: {rejected} rejected");
    });
}
