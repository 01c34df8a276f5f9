//! The result as Markdown.

use std::{fmt, fs, path::Path, thread};

use anyhow::Result;

use super::{
    idle::Idle,
    load::{Case, Run},
    tools::Tools,
};
use crate::shell;

/// The same load on all three, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) direct: Run,
    pub(super) haproxy: Run,
    pub(super) unbusy: Run,
}

impl Round {
    fn cpu_ratio(&self) -> f64 {
        self.unbusy.cpu_per_million / self.haproxy.cpu_per_million
    }

    fn rate_ratio(&self) -> f64 {
        self.unbusy.rate / self.haproxy.rate
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy =
            |run: Run| format!("{} at {:.2} CPU s per million", thousands(run.rate), run.cpu_per_million);
        write!(f, "direct {}, haproxy {}", thousands(self.direct.rate), proxy(self.haproxy))?;
        write!(f, ", unbusy {}, CPU ratio {:.2}", proxy(self.unbusy), self.cpu_ratio())
    }
}

/// A case and all its rounds.
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) rounds: Vec<Round>,
}

impl Measured {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(of)).median
    }
}

pub(super) struct Report {
    pub(super) measured: Vec<Measured>,
    pub(super) idle: Option<Idle>,
}

const HEADER: &str = "\
| `redis-benchmark -t set,get` | direct | haproxy | unbusy | haproxy CPU | unbusy CPU | CPU, unbusy/haproxy | commands/s, unbusy/haproxy |
|---|--:|--:|--:|--:|--:|--:|--:|
";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for measured in &self.measured {
            let rate = |of: fn(&Round) -> Run| thousands(measured.median(|round| of(round).rate));
            let cpu = |of: fn(&Round) -> Run| measured.median(|round| of(round).cpu_per_million);
            let (direct, haproxy, unbusy) = (rate(|r| r.direct), rate(|r| r.haproxy), rate(|r| r.unbusy));
            let (haproxy_cpu, unbusy_cpu) = (cpu(|r| r.haproxy), cpu(|r| r.unbusy));
            let cpu_ratio = Spread::of(measured.rounds.iter().map(Round::cpu_ratio));
            let rate_ratio = Spread::of(measured.rounds.iter().map(Round::rate_ratio));
            let options = measured.case.options();
            write!(
                f,
                "| `{options}` | {direct} | {haproxy} | {unbusy} | {haproxy_cpu:.2} | {unbusy_cpu:.2} "
            )?;
            writeln!(f, "| {cpu_ratio} | {rate_ratio} |")?;
        }
        let Some(idle) = self.idle else { return Ok(()) };
        let (haproxy, unbusy) = (idle.haproxy / 1024.0, idle.unbusy / 1024.0);
        writeln!(f, "\n| resident memory per idle client | haproxy | unbusy |\n|---|--:|--:|")?;
        writeln!(f, "| {} clients | {haproxy:.1} KiB | {unbusy:.1} KiB |", idle.clients)
    }
}

fn thousands(rate: f64) -> String {
    format!("{:.1}k/s", rate / 1000.0)
}

/// The middle and the ends of what the rounds showed.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(below, above), min: values[0], max: values[values.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }
}

/// What was measured, and on what.
pub(super) fn about(tools: &Tools, unbusy: &Path, threads: u32) -> Result<String> {
    let first_line = |program: &Path, option| -> Result<String> {
        let text = shell::output(&mut shell::command(program, &[option]))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    };
    let haproxy = first_line(&tools.haproxy, "-v")?;
    let haproxy = haproxy.split(" - ").next().unwrap_or_default();
    let (unbusy, load) = (first_line(unbusy, "--version")?, first_line(&tools.redis_benchmark, "--version")?);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    Ok(format!(
        "* {unbusy}; {haproxy}; load by {load}; each proxy with {threads} threads\n\
         * {processors} × {}, Linux {kernel}, all on one machine\n",
        processor().unwrap_or_else(|| "processor".into()),
    ))
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([7.0].into_iter()).to_string(), "7.00 (7.00 to 7.00)");
    }
}
