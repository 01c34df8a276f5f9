//! The results as tables in Markdown.

use std::fmt::{self, Display, Formatter};

use super::{
    peers::{self, HAPROXY},
    results::{Measured, Results},
    rig::DIRECT,
    spread::Spread,
};

/// Clients for which memory is told.
const THOUSAND: f64 = 1000.0;

impl Display for Results {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.about)?;
        self.overview(f)?;
        self.measured.iter().try_for_each(|measured| measured.table(f))
    }
}

impl Results {
    /// Every proxy in a line: what it takes in each case, relative to haproxy, and its memory.
    fn overview(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "CPU per command relative to haproxy, medians, and memory:\n")?;
        let titles = self.measured.iter().map(|measured| measured.case.title());
        header(f, "", titles.chain(["MiB per 1,000 idle clients".to_owned()]))?;
        for name in self.proxies() {
            let ratios =
                self.measured.iter().map(|m| cell(m.cpu_to_haproxy(name), |s| format!("{:.2}", s.median)));
            row(f, name, ratios.chain([cell(self.memory(name), |mib| format!("{mib:.1}"))]))?;
        }
        writeln!(f)
    }

    /// All proxies that took part in something.
    pub(super) fn proxies(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        let idle = self.idle.iter().flat_map(|idle| idle.bytes.iter().map(|(name, _)| *name));
        for name in self.measured.iter().flat_map(Measured::names).chain(idle) {
            if name != DIRECT && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// MiB for a thousand idle clients.
    pub(super) fn memory(&self, name: &str) -> Option<f64> {
        let bytes = &self.idle.as_ref()?.bytes;
        let (_, bytes) = bytes.iter().find(|(proxy, _)| *proxy == name)?;
        Some(bytes * THOUSAND / f64::from(1 << 20))
    }
}

impl Measured {
    fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.case.title())?;
        let mut titles = vec![
            "commands/s",
            "÷ direct",
            "÷ haproxy",
            "CPU µs per command",
            "÷ haproxy",
            "system calls per command",
        ];
        if self.case.tells_round_trip() {
            titles.extend(["round trip µs", "÷ direct"]);
        }
        header(f, "", titles.into_iter().map(str::to_owned))?;
        for name in self.names() {
            row(f, name, self.cells(name).into_iter())?;
        }
        writeln!(f)
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let is_proxy = name != DIRECT;
        let ratio = |spread: Option<Spread>| cell(spread, |spread| spread.to_string());
        let to_haproxy = |spread: Option<Spread>| ratio(spread.filter(|_| is_proxy && name != HAPROXY));
        let rate = self.spread(name, |run| Some(run.rate));
        let cpu = self.spread(name, |run| Some(run.cpu)).filter(|_| is_proxy);
        let calls = self.syscalls.iter().find(|(line, _)| *line == name);
        let mut row = vec![
            cell(rate, |rate| format!("{:.1}k", rate.median / 1000.0)),
            ratio(self.rate_to(name, DIRECT).filter(|_| is_proxy)),
            to_haproxy(self.rate_to(name, HAPROXY)),
            cell(cpu, |cpu| format!("{:.2}", cpu.median)),
            to_haproxy(self.cpu_to_haproxy(name)),
            cell(calls, |(_, calls)| format!("{calls:.2}")),
        ];
        if self.case.tells_round_trip() {
            let trip = self.spread(name, |run| run.round_trip);
            row.push(cell(trip, |trip| format!("{:.1}", trip.median)));
            row.push(ratio(self.round_trip_to_direct(name).filter(|_| is_proxy)));
        }
        row
    }
}

fn cell<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), text)
}

fn header(f: &mut Formatter<'_>, first: &str, titles: impl Iterator<Item = String>) -> fmt::Result {
    let titles: Vec<_> = titles.collect();
    writeln!(f, "| {first} | {} |", titles.join(" | "))?;
    writeln!(f, "|---|{}", "--:|".repeat(titles.len()))
}

fn row(f: &mut Formatter<'_>, name: &str, cells: impl Iterator<Item = String>) -> fmt::Result {
    let name = if peers::is_ours(name) { format!("**{name}**") } else { name.to_owned() };
    writeln!(f, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "))
}
