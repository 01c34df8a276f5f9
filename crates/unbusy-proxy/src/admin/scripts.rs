//! `/api/scripts`: what each script has cost, and its text, as JSON. `docs/monitoring.md` says what each field means.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use unbusy_core::Time;

use super::state::unix_time;
use crate::ledger::{Account, Cost, Costs, Name};
use crate::notices::millis;

/// All scripts that went through, the dearest first.
#[derive(Debug, Serialize)]
pub(super) struct Bill {
    now_ms: u64,
    scripts: Vec<One>,
    /// All that are not told apart.
    others: Sum,
}

#[derive(Debug, Serialize)]
struct One {
    /// The SHA-1 of its text, or the function.
    script: String,
    #[serde(flatten)]
    sum: Sum,
    /// Null if it did not come this way, or is not kept.
    text: Option<String>,
}

#[derive(Debug, Serialize)]
struct Sum {
    runs: u64,
    blocked_ms: f64,
    longest_ms: f64,
    last_ms: Option<u64>,
}

impl Bill {
    pub(super) fn of(costs: Costs, now: Time) -> Self {
        let mut scripts: Vec<_> = costs.scripts.into_iter().collect();
        scripts.sort_by_key(|(_, account)| Reverse(account.cost.blocked.sum));
        let scripts = scripts.into_iter().map(|(name, account)| One::of(&name, account, now));
        let now_ms = millis(unix_time(SystemTime::now()));
        Self { now_ms, scripts: scripts.collect(), others: Sum::of(&costs.others, now) }
    }
}

impl One {
    fn of(name: &Name, Account { cost, text }: Account, now: Time) -> Self {
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        Self { script: name.to_string(), sum: Sum::of(&cost, now), text }
    }
}

impl Sum {
    fn of(cost: &Cost, now: Time) -> Self {
        let exact = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let runs = cost.blocked.count();
        let ago = now - cost.last.min(now);
        let last = unix_time(SystemTime::now()).saturating_sub(ago);
        Self {
            runs,
            blocked_ms: exact(cost.blocked.sum),
            longest_ms: exact(cost.longest),
            last_ms: (runs > 0).then(|| millis(last)),
        }
    }
}
