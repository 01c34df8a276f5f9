//! What a command costs through the wrapper, beside the `redis` crate alone, on a server that is fine:
//! `cargo bench -p unbusy`.
use std::fmt;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use redis::Pipeline;
use testkit::{Flavor, Server};
use tokio::runtime::Runtime;

/// Whose connection.
#[derive(Clone, Copy)]
enum Of {
    Redis,
    Unbusy,
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "redis",
            Self::Unbusy => "unbusy",
        })
    }
}

const BOTH: [Of; 2] = [Of::Redis, Of::Unbusy];
const COMMANDS: usize = 100;

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Flavor::Redis70));

fn main() {
    divan::main();
}

fn bare() -> redis::Client {
    redis::Client::open(SERVER.url()).expect("an address")
}

fn blocking(of: Of) -> Box<dyn redis::ConnectionLike> {
    match of {
        Of::Redis => Box::new(bare().get_connection().expect("a connection")),
        Of::Unbusy => Box::new(unbusy::Client::from(bare()).get_connection().expect("a connection")),
    }
}

async fn asynchronous(of: Of) -> Box<dyn redis::aio::ConnectionLike> {
    match of {
        Of::Redis => Box::new(bare().get_multiplexed_async_connection().await.expect("a connection")),
        Of::Unbusy => {
            let client = unbusy::Client::from(bare());
            Box::new(client.get_multiplexed_async_connection().await.expect("a connection"))
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn hundred() -> Pipeline {
    let mut pipeline = redis::pipe();
    for _ in 0..COMMANDS {
        pipeline.get("k");
    }
    pipeline
}

#[divan::bench(args = BOTH)]
fn get_blocking(bencher: Bencher<'_, '_>, of: Of) {
    let mut connection = blocking(of);
    let command = redis::Cmd::get("k");
    bencher.bench_local(|| connection.req_command(&command).expect("a reply"));
}

#[divan::bench(args = BOTH)]
fn pipeline_of_100_blocking(bencher: Bencher<'_, '_>, of: Of) {
    let (mut connection, packed) = (blocking(of), hundred().get_packed_pipeline());
    bencher
        .counter(ItemsCount::new(COMMANDS))
        .bench_local(|| connection.req_packed_commands(&packed, 0, COMMANDS).expect("replies"));
}

#[divan::bench(args = BOTH)]
fn get_asynchronous(bencher: Bencher<'_, '_>, of: Of) {
    let runtime = runtime();
    let mut connection = runtime.block_on(asynchronous(of));
    let command = redis::Cmd::get("k");
    bencher
        .bench_local(|| runtime.block_on(connection.as_mut().req_packed_command(&command)).expect("a reply"));
}

#[divan::bench(args = BOTH)]
fn pipeline_of_100_asynchronous(bencher: Bencher<'_, '_>, of: Of) {
    let (runtime, pipeline) = (runtime(), hundred());
    let mut connection = runtime.block_on(asynchronous(of));
    bencher.counter(ItemsCount::new(COMMANDS)).bench_local(|| {
        runtime.block_on(connection.as_mut().req_packed_commands(&pipeline, 0, COMMANDS)).expect("replies")
    });
}
