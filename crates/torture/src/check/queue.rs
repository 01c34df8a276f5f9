//! The queue: what was put in is taken once, and nothing disappears.

use std::collections::{HashMap, HashSet};

use super::tokens::{QUEUE, taken};
use super::{Data, Fault, Kind};
use crate::history::{Act, History, Outcome, Token};

pub(super) fn check(history: &History, data: &Data, faults: &mut Vec<Fault>) {
    check_missing(history, data, faults);
    for line in &history.lines {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for op in &line.ops {
            let Outcome::Took(Some(word)) = &op.outcome else { continue };
            let Some(token) = Token::parse(word) else { continue };
            if last.insert(token.line, token.place).is_some_and(|before| before >= token.place) {
                let what = format!("{} {} took {token} behind a later one", line.client, line.id);
                faults.push(Fault::new(Kind::Reordered, what));
            }
        }
    }
}

/// A consumer whose connection broke may have taken one token each time without knowing it.
fn check_missing(history: &History, data: &Data, faults: &mut Vec<Fault>) {
    let there: HashSet<_> =
        data.list(QUEUE).iter().chain(taken(history)).filter_map(|word| Token::parse(word)).collect();
    let mut missing = Vec::new();
    let mut excuses = 0;
    for line in &history.lines {
        for (place, op) in line.ops.iter().enumerate() {
            let token = Token { line: line.id, place: place as u32 };
            match (&op.act, &op.outcome) {
                (Act::Enqueue, Outcome::Done(_)) if !there.contains(&token) => missing.push(token),
                (Act::Take, Outcome::Unknown) => excuses += 1,
                _ => {}
            }
        }
    }
    if missing.len() > excuses {
        let first = missing[0];
        let count = missing.len();
        let what = format!("{count} tokens left the queue, {first} first, but {excuses} takings are unknown");
        faults.push(Fault::new(Kind::Lost, what));
    }
}
