//! What is told: progress, totals, and where a failure is kept.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{check::ambiguous_scripts, history::Tally, round};

#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) rounds: u64,
    pub(crate) elapsed: Duration,
    pub(crate) chaos: BTreeMap<&'static str, u64>,
    pub(crate) rejections: u64,
    pub(crate) messages: u64,
    pub(crate) ambiguous: u64,
    pub(crate) faults: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, outcome: &round::Outcome, elapsed: Duration) {
        self.rounds += 1;
        self.elapsed = elapsed;
        for chaos in &outcome.chaos {
            *self.chaos.entry(chaos).or_default() += 1;
        }
        self.rejections += outcome.rejections;
        self.messages +=
            outcome.history.hearings.iter().map(|hearing| hearing.heard.len() as u64).sum::<u64>();
        self.ambiguous += ambiguous_scripts(&outcome.history) as u64;
        self.faults += outcome.faults.len() as u64;
    }

    pub(crate) fn events(&self) -> u64 {
        self.chaos.values().sum()
    }
}

/// The totals as they stand at the end, in words.
pub(crate) struct Summary<'a> {
    pub(crate) totals: &'a Totals,
    pub(crate) tally: &'a Tally,
    pub(crate) episodes: u64,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { totals, tally, episodes } = self;
        let load =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        writeln!(f, "minutes                {:.1}", totals.elapsed.as_secs_f64() / 60.0)?;
        writeln!(f, "rounds                 {}", totals.rounds)?;
        writeln!(f, "acknowledged           {}", load(&tally.done))?;
        writeln!(f, "refused                {}", load(&tally.refused))?;
        writeln!(f, "unknown                {}", load(&tally.unknown))?;
        writeln!(f, "left while held        {}", load(&tally.given_up))?;
        writeln!(f, "messages heard         {}", totals.messages)?;
        writeln!(f, "busy episodes          {episodes}")?;
        writeln!(f, "rejected by the server {}", totals.rejections)?;
        writeln!(f, "scripts answered BUSY  {} (the known fault)", totals.ambiguous)?;
        for (chaos, count) in &totals.chaos {
            writeln!(f, "chaos: {count:>6} {chaos}")?;
        }
        write!(f, "failures               {}", totals.faults)
    }
}

/// Writes what is needed to understand a failure into a folder.
pub(crate) fn keep(folder: &Path, outcome: &round::Outcome, logs: &[(&str, String)]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let mut text = String::new();
    for fault in &outcome.faults {
        let _ = writeln!(text, "{fault}");
    }
    fs::write(folder.join("faults.txt"), text)?;
    fs::write(folder.join("history.txt"), history(outcome))?;
    fs::write(folder.join("data.txt"), data(outcome))?;
    for (name, log) in logs {
        fs::write(folder.join(name), log)?;
    }
    Ok(folder.to_owned())
}

fn history(outcome: &round::Outcome) -> String {
    let mut text = String::new();
    for line in &outcome.history.lines {
        let patience = if line.patient { "patient" } else { "hasty" };
        let _ = writeln!(text, "line {} of {}, {patience}", line.id, line.client);
        for (place, op) in line.ops.iter().enumerate() {
            let _ = writeln!(
                text,
                "{}:{place} sent {} answered {} {:?} {:?}",
                line.id, op.sent, op.answered, op.act, op.outcome
            );
        }
        for complaint in &line.complaints {
            let _ = writeln!(text, "complaint: {complaint}");
        }
    }
    for hearing in &outcome.history.hearings {
        let _ = writeln!(text, "{} heard {} from {}:", hearing.client, hearing.channel, hearing.from);
        let _ = writeln!(text, "{}", hearing.heard.join(" "));
    }
    text
}

fn data(outcome: &round::Outcome) -> String {
    let mut text = String::new();
    for (name, number) in &outcome.data.numbers {
        let _ = writeln!(text, "{name} {number}");
    }
    for (name, list) in &outcome.data.lists {
        let _ = writeln!(text, "{name} {}", list.join(" "));
    }
    text
}
