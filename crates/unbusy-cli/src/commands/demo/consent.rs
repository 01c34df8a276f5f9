//! Asking before a server of the user's is blocked.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::sync::oneshot;

use super::plan::CLIENTS;
use super::stage::Stage;
use crate::cli::{ServerUrl, UsageError};

/// Refuses where nobody can be asked.
pub(super) fn check_possible(server: &ServerUrl, agreed: bool) -> Result<(), UsageError> {
    if agreed || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(UsageError::new(format!(
        "the demo would block {server} for some seconds with a script, and there is no terminal to ask on; \
         add --yes if that is wanted, or leave out --upstream to use a server of the demo's own"
    )))
}

/// Asks, and waits for the answer.
pub(super) async fn given(server: &ServerUrl, stage: &Stage) -> std::io::Result<bool> {
    let plan = &stage.plan;
    let script = plan.scripts.iter().sum::<Duration>().as_secs_f64();
    let (threshold, total) = (plan.threshold.as_secs_f64(), plan.total().as_secs_f64());
    let mut question = std::io::stderr();
    write!(
        question,
        "This will BLOCK {server} for {script:.1} s with a script.\n\
         It answers nobody for {threshold:.1} s, its threshold, and then everybody with BUSY.\n\
         {CLIENTS} clients write to keys of their own, which are removed at the end:\n\
         {}*\n\
         All takes about {total:.0} s. Go on? [y/N] ",
        stage.keys()
    )?;
    question.flush()?;
    let (answer, answered) = oneshot::channel();
    // A thread that nobody waits for, so that a signal ends the question, too.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let _ = answer.send(read.is_ok() && is_yes(&line));
    });
    Ok(answered.await.unwrap_or(false))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Y\n", " yes \n", "Yes\n", "YES"].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "no\n", "yesterday\n"].into_iter().any(is_yes));
    }
}
