//! What was measured, on what, and when.

use std::{fmt, fs, thread};

use anyhow::Result;
use serde_json::{Value, json};

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
    pub(super) fn new(settings: String, versions: Vec<String>) -> Result<Self> {
        let date = shell::output(&mut shell::command("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))?;
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
    // On loopback, too, it decides how fast much data may go.
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let congestion = congestion.trim();
    format!(
        "{processors} × {name}, Linux {kernel}, TCP {congestion}; load, proxy and server all on this machine"
    )
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
