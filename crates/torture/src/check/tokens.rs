//! Was each command executed as often as its outcome says, in its connection's order, and was the reply its own?

use std::collections::HashMap;

use super::{Data, Fault, Kind};
use crate::history::{Act, History, Line, Op, Outcome, Token};

/// Where transactions leave their tokens.
pub(crate) const LEDGERS: [&str; 2] = ["ledger:a", "ledger:b"];
/// Where consumers take from.
pub(crate) const QUEUE: &str = "queue";

/// How often each token was executed, and in which list.
type Found<'a> = HashMap<(Token, &'a str), u32>;

pub(super) fn check(history: &History, data: &Data, faults: &mut Vec<Fault>) {
    let lines: HashMap<u32, &Line> = history.lines.iter().map(|line| (line.id, line)).collect();
    let mut found = Found::new();
    for (list, words) in data.lists.iter().filter(|(list, _)| *list != LEDGERS[1]) {
        look_through(list, words, &lines, &mut found, faults);
    }
    for taken in taken(history) {
        match Token::parse(taken) {
            Some(token) => *found.entry((token, QUEUE)).or_default() += 1,
            None => faults.push(Fault::new(Kind::Strange, format!("a consumer took {taken:?}"))),
        }
    }
    for line in &history.lines {
        let executed = |place: usize, op: &Op| {
            let token = Token { line: line.id, place: place as u32 };
            home(op).map(|list| found.get(&(token, list)).copied().unwrap_or(0))
        };
        check_counts(line, &executed, faults);
        check_prefix(line, &executed, faults);
        check_positions(line, data, faults);
    }
}

/// Finds the tokens of a list, and looks whether they belong there and stand in order.
fn look_through<'a>(
    list: &'a str,
    words: &[String],
    lines: &HashMap<u32, &Line>,
    found: &mut Found<'a>,
    faults: &mut Vec<Fault>,
) {
    let mut newest: HashMap<u32, u32> = HashMap::new();
    for word in words {
        let op = Token::parse(word).and_then(|token| {
            let op = lines.get(&token.line)?.ops.get(token.place as usize)?;
            (home(op) == Some(list)).then_some(token)
        });
        let Some(token) = op else {
            faults.push(Fault::new(Kind::Strange, format!("nobody sent {word:?} to {list}")));
            continue;
        };
        *found.entry((token, list)).or_default() += 1;
        // A duplicate is found by its count.
        let before = newest.insert(token.line, token.place);
        if before.is_some_and(|before| before > token.place) {
            faults.push(Fault::new(Kind::Reordered, format!("{token} is behind a later one in {list}")));
        }
    }
}

/// The list in which the execution of an operation shows.
pub(super) fn home(op: &Op) -> Option<&str> {
    match &op.act {
        Act::Push { list } | Act::Script { list, .. } => Some(list),
        Act::Transfer(_) | Act::Watched(_) => Some(LEDGERS[0]),
        Act::Enqueue => Some(QUEUE),
        Act::Count { .. } | Act::Publish { .. } | Act::Take => None,
    }
}

pub(super) fn taken(history: &History) -> impl Iterator<Item = &String> {
    let ops = history.lines.iter().flat_map(|line| &line.ops);
    ops.filter_map(|op| if let Outcome::Took(Some(token)) = &op.outcome { Some(token) } else { None })
}

fn check_counts(line: &Line, executed: &impl Fn(usize, &Op) -> Option<u32>, faults: &mut Vec<Fault>) {
    for (place, op) in line.ops.iter().enumerate() {
        let Some(count) = executed(place, op) else { continue };
        let kind = match &op.outcome {
            _ if count > 1 => Kind::Duplicated,
            // What a consumer took without knowing it is looked at with the queue.
            Outcome::Done(_) if count == 0 && op.act != Act::Enqueue => Kind::Lost,
            Outcome::Refused(_) if count > 0 => Kind::Undead,
            Outcome::GivenUp if count > 0 => Kind::Ghost,
            _ => continue,
        };
        let what = format!(
            "{} {}:{place} {:?}, told {:?}, executed {count} times",
            line.client, line.id, op.act, op.outcome
        );
        faults.push(Fault::new(kind, what));
    }
}

/// Of what nobody was told about, a connection has executed a first part. (One that may have been given up is no evidence.)
fn check_prefix(line: &Line, executed: &impl Fn(usize, &Op) -> Option<u32>, faults: &mut Vec<Fault>) {
    if !line.patient {
        return;
    }
    let mut missing = None;
    for (place, op) in line.ops.iter().enumerate().filter(|(_, op)| op.outcome == Outcome::Unknown) {
        match executed(place, op) {
            Some(0) if !may_fail(&op.act) => missing = missing.or(Some(place)),
            Some(1..) => {
                if let Some(missing) = missing {
                    let what = format!("{} {}:{place} was executed, but not {missing}", line.client, line.id);
                    faults.push(Fault::new(Kind::Reordered, what));
                }
            }
            _ => {}
        }
    }
}

/// Whether its absence may have another reason than that the connection broke before it.
fn may_fail(act: &Act) -> bool {
    // A script may have been killed, a watched key changed, a token taken by a consumer whose connection broke.
    matches!(act, Act::Script { .. } | Act::Watched(_) | Act::Enqueue)
}

/// The length that RPUSH answered says where the token must be.
fn check_positions(line: &Line, data: &Data, faults: &mut Vec<Fault>) {
    for (place, op) in line.ops.iter().enumerate() {
        let (Act::Push { list } | Act::Script { list, .. }, Outcome::Done(Some(length))) =
            (&op.act, &op.outcome)
        else {
            continue;
        };
        let token = Token { line: line.id, place: place as u32 };
        let there = usize::try_from(*length - 1).ok().and_then(|at| data.list(list).get(at));
        if there.and_then(|word| Token::parse(word)) != Some(token) {
            let what =
                format!("{} {token} was told place {length} of {list}, where {there:?} is", line.client);
            faults.push(Fault::new(Kind::Misanswered, what));
        }
    }
}
