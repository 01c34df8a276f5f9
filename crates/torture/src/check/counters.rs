//! INCR: no number is given twice, and each counter is as high as it was counted.

use std::collections::{BTreeMap, HashSet};

use super::{Data, Fault, Kind};
use crate::history::{Act, History, Outcome};

#[derive(Default)]
struct Count {
    given: HashSet<i64>,
    done: i64,
    unknown: i64,
}

pub(super) fn check(history: &History, data: &Data, faults: &mut Vec<Fault>) {
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for line in &history.lines {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for (place, op) in line.ops.iter().enumerate() {
            let Act::Count { counter } = &op.act else { continue };
            let count = counts.entry(counter).or_default();
            match op.outcome {
                Outcome::Done(Some(number)) => {
                    count.done += 1;
                    let about = || format!("{} {}:{place} got {number} of {counter}", line.client, line.id);
                    if !count.given.insert(number) {
                        faults.push(Fault::new(Kind::Duplicated, format!("{}, given before", about())));
                    }
                    if last.insert(counter, number).is_some_and(|before| before > number) {
                        faults.push(Fault::new(Kind::Reordered, format!("{}, after a later one", about())));
                    }
                }
                Outcome::Unknown => count.unknown += 1,
                _ => {}
            }
        }
    }
    for (counter, count) in counts {
        let (is, most) = (data.number(counter), count.done + count.unknown);
        let kind = match is {
            _ if is < count.done => Kind::Lost,
            _ if is > most => Kind::Duplicated,
            _ => continue,
        };
        let what = format!("{counter} is {is}; it was counted {} times, or up to {most}", count.done);
        faults.push(Fault::new(kind, what));
    }
}
