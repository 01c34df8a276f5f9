//! The load: redis-benchmark.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::interrupt::Interrupt;

/// One shape of load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    clients: u32,
    pipeline: u32,
    value_bytes: u32,
}

pub(super) const CASES: [Case; 4] = [
    Case { name: "c50 P1", clients: 50, pipeline: 1, value_bytes: 3 },
    Case { name: "c50 P16", clients: 50, pipeline: 16, value_bytes: 3 },
    Case { name: "c500 P1", clients: 500, pipeline: 1, value_bytes: 3 },
    Case { name: "c50 P1 16 KiB", clients: 50, pipeline: 1, value_bytes: 16_384 },
];

impl Case {
    /// What this case makes of the number that was asked for, so that all take about as long.
    pub(super) const fn commands(self, asked: u32) -> u32 {
        match (self.pipeline, self.value_bytes) {
            (2.., _) => asked.saturating_mul(10),
            (_, 4096..) => asked / 2,
            _ => asked,
        }
    }

    /// The options of redis-benchmark that make it.
    pub(super) fn options(self) -> String {
        let Self { clients, pipeline, value_bytes, .. } = self;
        let size = if value_bytes == 3 { String::new() } else { format!(" -d {value_bytes}") };
        format!("-c {clients} -P {pipeline}{size}")
    }
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Commands per second.
    pub(super) rate: f64,
    /// Seconds of processor time per million commands.
    pub(super) cpu_per_million: f64,
}

/// Sends so many SETs and as many GETs; returns how many commands went through per second.
pub(super) fn run(
    program: &Path,
    port: u16,
    case: Case,
    commands: u32,
    interrupt: &Interrupt,
) -> Result<f64> {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "set,get", "--csv"]);
    command.args(["-n", &commands.to_string(), "-d", &case.value_bytes.to_string()]);
    command.args(["-c", &case.clients.to_string(), "-P", &case.pipeline.to_string()]);
    let output = interrupt.output(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = || format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "redis-benchmark failed ({}):\n{}", output.status, failed());
    rate(&text).with_context(|| format!("redis-benchmark did not tell its rates:\n{}", failed()))
}

/// Of as many SETs as GETs.
fn rate(csv: &str) -> Option<f64> {
    let of = |name: &str| -> Option<f64> {
        let line = csv.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches([',', '"']).split('"').next()?.parse().ok()
    };
    Some(2.0 / (1.0 / of("\"SET\"")? + 1.0 / of("\"GET\"")?))
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn the_rate_is_that_of_both_kinds_together() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"SET\",\"30000.00\",\"1.1\"\n\"GET\",\"60000.00\",\"0.5\"\n";
        assert_eq!(rate(csv).map(f64::round), Some(40_000.0));
        assert_eq!(rate("Could not connect"), None);
    }
}
