//! Tasks that share one multiplexed connection of the crate `unbusy`. Each has a line of its own: between them there is no
//! order to keep.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::task::JoinSet;

use super::crates::{Request, broken, outcome, pipe_for, request_for, tell_all, url};
use crate::{
    chance::Chance,
    history::Pen,
    stage::{Stage, any_act, plain_act, spawn},
};

const TASKS: u64 = 6;
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(20);

pub(super) fn start(stage: &Arc<Stage>, stream: u64) -> JoinHandle<()> {
    let shared = Arc::clone(stage);
    spawn("unbusy tasks", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut chance = shared.chance(stream);
            while shared.goes_on() {
                if connected(&shared, &mut chance).await.is_err() {
                    tokio::time::sleep(RETRY).await;
                }
            }
        });
    })
}

/// The life of one connection.
async fn connected(stage: &Arc<Stage>, chance: &mut Chance) -> io::Result<()> {
    let client = unbusy::Client::open(url(&stage.server)).map_err(broken)?;
    let connection = client.get_multiplexed_async_connection().await.map_err(broken)?;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let chance = Chance::new(chance.below(u64::MAX), 0);
        let pen = stage.recorder.line("unbusy tasks", true);
        tasks.spawn(task(Arc::clone(stage), chance, connection.clone(), pen));
    }
    // All end soon after the first that finds the connection broken.
    tasks.join_all().await.into_iter().collect()
}

async fn task(
    stage: Arc<Stage>,
    mut chance: Chance,
    mut connection: unbusy::aio::Connection,
    pen: Pen,
) -> io::Result<()> {
    while stage.goes_on() {
        if chance.one_in(10) {
            let acts: Vec<_> = (0..chance.between(2, 60)).map(|_| plain_act(&mut chance, &pen)).collect();
            let (tokens, pipe) = pipe_for(&pen, &acts);
            tell_all(&pen, &acts, &tokens, pipe.query_async(&mut connection).await)?;
        } else {
            let act = any_act(&mut chance, &pen);
            let token = pen.ask(act.clone());
            let result = match request_for(&act, token) {
                Request::Single(cmd) => cmd.query_async(&mut connection).await,
                Request::Atomic(pipe) => pipe.query_async(&mut connection).await,
            };
            pen.tell(token, outcome(&pen, &act, result)?);
        }
        tokio::time::sleep(Duration::from_millis(chance.below(25))).await;
    }
    Ok(())
}
