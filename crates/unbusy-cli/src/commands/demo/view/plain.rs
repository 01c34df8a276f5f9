//! A line a second.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use super::pace::Watch;
use crate::commands::demo::board::{Board, ScriptState};
use crate::commands::demo::plan::Plan;
use crate::commands::demo::report::grouped;

const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn show(board: &Board, plan: &Plan) -> std::io::Result<()> {
    let mut watch = Watch::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let mut line =
            format!("{:4.1} s  {:<22}", board.elapsed().as_secs_f64(), doing(board.script(), plan));
        for (group, pace) in watch.look(board) {
            let _ = write!(
                line,
                "  {}: {:>5}/s, {:>2} waiting, {} errors",
                group.name(),
                grouped(pace.per_second),
                pace.count.waiting,
                grouped(pace.count.errors)
            );
        }
        // Whoever reads may have had enough; the demo goes on to its end.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn doing(script: ScriptState, plan: &Plan) -> &'static str {
    match script {
        ScriptState::Running { since, .. } if since.elapsed() > plan.threshold => "script runs: BUSY",
        ScriptState::Running { .. } => "script runs: silence",
        ScriptState::NotYet | ScriptState::Over => "no script",
    }
}
