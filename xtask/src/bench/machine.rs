//! What was measured, on what, and when.

use std::{fmt, fs, path::PathBuf, thread};

use anyhow::Result;
use serde_json::{Value, json};

use super::peers::Peer;
use crate::shell;

/// What the numbers are of.
pub(super) struct About {
    pub(super) date: String,
    machine: String,
    versions: Vec<String>,
    /// What was asked for.
    pub(super) settings: String,
}

impl About {
    pub(super) fn new(settings: String, load: &PathBuf, peers: &[(&'static Peer, PathBuf)]) -> Result<Self> {
        let date = shell::output(&mut shell::command("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))?;
        let mut versions: Vec<_> = peers.iter().filter_map(|(peer, program)| peer.version(program)).collect();
        // Of one program there may be several proxies.
        versions.dedup();
        let load = shell::output(&mut shell::command(load, &["--version"]))?;
        versions.push(format!("load by {}", load.trim()));
        Ok(Self { date: date.trim().to_owned(), machine: machine(), versions, settings })
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": self.settings,
        })
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, machine, versions, settings } = self;
        writeln!(f, "Made on {date}: {settings}.\n\n* {}\n* {machine}", versions.join("; "))
    }
}

fn machine() -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let name = processor().unwrap_or_else(|| "processor".into());
    format!("{processors} × {name}, Linux {kernel}; load, proxy and server all on this machine")
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
