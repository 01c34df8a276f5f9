//! The load: redis-benchmark.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{address::Address, case::Case};
use crate::{debian, interrupt::Interrupt};

pub(super) const PROGRAM: debian::Program = debian::Program {
    name: "redis-benchmark",
    packages: debian::REDIS,
    member: "usr/bin/redis-benchmark",
    home: None,
};

/// Sends so many SETs and as many GETs; returns how many commands went through per second.
pub(super) fn run(
    program: &Path,
    address: &Address,
    case: Case,
    commands: u32,
    interrupt: &Interrupt,
) -> Result<f64> {
    let mut command = Command::new(program);
    command.args(address.options()).args(["-t", "set,get", "--csv", "-n", &commands.to_string()]);
    command.args(case.options());
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
