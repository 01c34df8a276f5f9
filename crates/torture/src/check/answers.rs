//! Were the clients told only what they may be told?

use super::{Fault, Kind};
use crate::history::{Act, History, Line, Op, Outcome};

/// The text of null in answer to EXEC.
pub(crate) const CHANGED: &str = "null: a watched key changed";

pub(super) fn check(history: &History, faults: &mut Vec<Fault>) {
    for line in &history.lines {
        for (place, op) in line.ops.iter().enumerate() {
            if let Outcome::Refused(text) = &op.outcome
                && let Some(kind) = blame(line, op, text)
            {
                faults.push(Fault::new(kind, format!("{} {}:{place} got {text:?}", line.client, line.id)));
            }
        }
        for text in &line.complaints {
            let kind = if is_busy(text) { Kind::Busy } else { Kind::Strange };
            faults.push(Fault::new(kind, format!("{} {}: {text}", line.client, line.id)));
        }
    }
}

fn blame(line: &Line, op: &Op, text: &str) -> Option<Kind> {
    let is_script = matches!(op.act, Act::Script { .. });
    match op.act {
        Act::Watched(_) if text == CHANGED => None,
        Act::Script { .. } if text.contains("Script killed by user") => None,
        _ if is_busy(text) => (line.patient && !is_script).then_some(Kind::Busy),
        _ => Some(Kind::Strange),
    }
}

fn is_busy(text: &str) -> bool {
    text.starts_with("BUSY ") || text.starts_with("EXECABORT ")
}

/// How many scripts of patient clients were answered BUSY: the known fault of the changelog.
pub(crate) fn ambiguous_scripts(history: &History) -> usize {
    let is_one = |op: &&Op| matches!((&op.act, &op.outcome), (Act::Script { .. }, Outcome::Refused(text)) if is_busy(text));
    let patient = history.lines.iter().filter(|line| line.patient);
    patient.map(|line| line.ops.iter().filter(is_one).count()).sum()
}
