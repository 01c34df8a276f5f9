//! Publish and subscribe: each publisher's messages arrive in order, once, and without a gap while the connection lives.

use std::collections::HashMap;

use super::{Fault, Kind};
use crate::history::{Act, Hearing, History, Line, Outcome, Token};

pub(super) fn check(history: &History, faults: &mut Vec<Fault>) {
    let lines: HashMap<u32, &Line> = history.lines.iter().map(|line| (line.id, line)).collect();
    for hearing in &history.hearings {
        let who = format!("{} of {}", hearing.client, hearing.channel);
        let mut last: HashMap<u32, u32> = HashMap::new();
        for word in &hearing.heard {
            let Some((token, line)) =
                Token::parse(word).and_then(|token| Some((token, *lines.get(&token.line)?)))
            else {
                faults.push(Fault::new(Kind::Strange, format!("{who} heard {word:?}, which nobody said")));
                continue;
            };
            match &line.ops[token.place as usize].outcome {
                Outcome::Refused(text) => {
                    let what = format!("{who} heard {token}, which was answered {text:?}");
                    faults.push(Fault::new(Kind::Undead, what));
                }
                Outcome::GivenUp => {
                    faults.push(Fault::new(Kind::Ghost, format!("{who} heard {token}")));
                }
                _ => {}
            }
            match last.insert(token.line, token.place) {
                Some(before) if before == token.place => {
                    faults.push(Fault::new(Kind::Duplicated, format!("{who} heard {token} twice")));
                }
                Some(before) if before > token.place => {
                    let what = format!("{who} heard {token} after {before}");
                    faults.push(Fault::new(Kind::Reordered, what));
                }
                before => check_gap(hearing, line, before, token, &who, faults),
            }
        }
    }
}

/// What its publisher has said between two messages, to people who listened already, must have been heard.
fn check_gap(
    hearing: &Hearing,
    line: &Line,
    before: Option<u32>,
    token: Token,
    who: &str,
    faults: &mut Vec<Fault>,
) {
    let from = before.map_or(0, |before| before as usize + 1);
    for (place, op) in line.ops.iter().enumerate().take(token.place as usize).skip(from) {
        let said = matches!(&op.act, Act::Publish { channel } if *channel == hearing.channel)
            && matches!(op.outcome, Outcome::Done(_))
            && op.sent > hearing.from;
        if said {
            let what = format!("{who} heard {token}, but not {}:{place}", line.id);
            faults.push(Fault::new(Kind::Lost, what));
        }
    }
}
