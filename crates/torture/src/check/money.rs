//! Transactions: whole, and none in the middle of another.

use std::collections::BTreeMap;

use super::tokens::LEDGERS;
use super::{Data, Fault, Kind};
use crate::history::{Act, History, Token};

/// What each account holds at first.
pub(crate) const INITIAL: i64 = 1_000;

pub(super) fn check(history: &History, data: &Data, faults: &mut Vec<Fault>) {
    let [first, second] = LEDGERS.map(|ledger| data.list(ledger));
    if let Some(at) = (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at)) {
        let what = format!(
            "the ledgers have {:?} and {:?} in place {at} ({} and {} entries)",
            first.get(at),
            second.get(at),
            first.len(),
            second.len()
        );
        faults.push(Fault::new(Kind::Torn, what));
    }
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    let transfers = first.iter().filter_map(|word| transfer(history, word));
    for (from, to, amount) in transfers {
        *expected.entry(from).or_insert(INITIAL) -= amount;
        *expected.entry(to).or_insert(INITIAL) += amount;
    }
    for (account, expected) in expected {
        let is = data.number(account);
        if is != expected {
            let what = format!("{account} holds {is}; by the ledger it should be {expected}");
            faults.push(Fault::new(Kind::Torn, what));
        }
    }
}

fn transfer<'a>(history: &'a History, word: &str) -> Option<(&'a str, &'a str, i64)> {
    let token = Token::parse(word)?;
    // Lines are numbered as they were opened.
    let at = history.lines.binary_search_by_key(&token.line, |line| line.id).ok()?;
    match &history.lines[at].ops.get(token.place as usize)?.act {
        Act::Transfer(transfer) | Act::Watched(transfer) => {
            Some((&transfer.from, &transfer.to, transfer.amount))
        }
        _ => None,
    }
}
