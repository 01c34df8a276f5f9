//! A line a second, in 80 columns.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use super::pace::{Pace, Watch};
use crate::commands::demo::board::{Board, Group, ScriptState};
use crate::commands::demo::plan::Plan;
use crate::commands::demo::report::grouped;

const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn show(board: &Board, plan: &Plan) -> std::io::Result<()> {
    let mut watch = Watch::new();
    say(&head());
    loop {
        tokio::time::sleep(EVERY).await;
        let script = doing(board.script(), plan);
        say(&line(board.elapsed(), script, &watch.look(board)));
    }
}

// Whoever reads may have had enough; the demo goes on to its end.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What the columns are, in two lines.
fn head() -> String {
    let (mut groups, mut columns) = (format!("{:15}", ""), format!("{:6}  {:<7}", "", "server"));
    for group in Group::ALL {
        let _ = write!(groups, "{:>21}", group.name());
        let _ = write!(columns, "{:>8} {:>4} {:>7}", "done/s", "wait", "errors");
    }
    format!("{groups}\n{columns}")
}

fn line(elapsed: Duration, server: &str, paces: &[(Group, Pace)]) -> String {
    let mut line = format!("{:4.1} s  {server:<7}", elapsed.as_secs_f64());
    for (_, pace) in paces {
        let (waiting, errors) = (pace.count.waiting, grouped(pace.count.errors));
        let _ = write!(line, "{:>8} {waiting:>4} {errors:>7}", grouped(pace.per_second));
    }
    line
}

/// What clients meet at the server.
fn doing(script: ScriptState, plan: &Plan) -> &'static str {
    match script {
        ScriptState::Running { since, .. } if since.elapsed() > plan.threshold => "BUSY",
        ScriptState::Running { .. } => "silent",
        ScriptState::NotYet | ScriptState::Over => "open",
    }
}
