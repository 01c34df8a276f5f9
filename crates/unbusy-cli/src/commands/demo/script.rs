//! The script that makes the server busy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, ScriptState};
use super::stage::Stage;

// It writes nothing, so that it can be killed at any time.
const LUA: &str = "\
    local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end \
    local stop = now() + tonumber(ARGV[1]) * 1000 \
    while now() < stop do end \
    return 1";

/// How much later than its threshold the server certainly hears SCRIPT KILL.
const HEARD: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(10);

/// From when to when a script ran, as its own client saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// Blocks the server for so long.
pub(super) async fn block(stage: &Stage, board: &Arc<Board>, length: Duration) -> anyhow::Result<Block> {
    let mut link = stage.direct().await?;
    let board = Arc::clone(board);
    // In a task that goes on when this function is given up, since the script does, too.
    let run = tokio::spawn(async move {
        let began = Instant::now();
        board.set_script(ScriptState::Running { since: began, length });
        let reply = link.tell(&["EVAL", LUA, "0", &length.as_millis().to_string()]).await;
        let block = Block { began, ended: Instant::now() };
        board.set_script(ScriptState::Over);
        reply.map(|_| block)
    });
    run.await?
}

/// How long the script is not to be ended yet, if it runs.
pub(super) fn deaf_for(stage: &Stage, board: &Board) -> Option<Duration> {
    match board.script() {
        ScriptState::Running { since, .. } => {
            Some((stage.plan.threshold + HEARD).saturating_sub(since.elapsed()))
        }
        ScriptState::NotYet | ScriptState::Over => None,
    }
}

/// Ends the script if it still runs.
///
/// SCRIPT KILL ends whatever script runs. One of ours that is unanswered for longer than the threshold is
/// the one that runs: behind another's it would have been rejected by then.
pub(super) async fn end(stage: &Stage, board: &Board) -> anyhow::Result<()> {
    let running = |state| matches!(state, ScriptState::Running { .. });
    let mut killed = false;
    while let ScriptState::Running { since, .. } = board.script() {
        if !killed && since.elapsed() > stage.plan.threshold + HEARD {
            let mut link = stage.direct_while_busy().await?;
            if running(board.script()) {
                // It fails if the script has just ended.
                link.ask(&["SCRIPT", "KILL"]).await?;
            }
            killed = true;
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
