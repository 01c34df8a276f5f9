//! How often a proxy calls the kernel, counted by `perf`, else by `strace`, in a run of its own: watching costs time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::shell;

/// Who counts.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    Perf,
    Strace,
}

/// How long it takes a counter to begin.
const BEGIN: Duration = Duration::from_millis(500);

impl Counter {
    /// The one that works here.
    pub(super) fn find() -> Option<Self> {
        let own = [std::process::id()];
        let works = |counter: &Self| matches!(counter.count(&own, || Ok(())), Ok(Some(_)));
        [Self::Perf, Self::Strace].into_iter().find(works)
    }

    /// The calls of these processes while something is done; `None` if they were not told.
    pub(super) fn count(self, pids: &[u32], work: impl FnOnce() -> Result<()>) -> Result<Option<u64>> {
        let folder = TempDir::with_prefix("unbusy-bench-")?;
        let file = folder.path().join("counts");
        let Some(mut command) = self.command(pids, &file) else { return Ok(None) };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut watching = Watching(child.context("cannot start the counter")?);
        thread::sleep(BEGIN);
        work()?;
        watching.end();
        Ok(self.read(&fs::read_to_string(&file).unwrap_or_default()))
    }

    fn command(self, pids: &[u32], file: &Path) -> Option<Command> {
        let pids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let program = |name| shell::on_path(name).map(Command::new::<PathBuf>);
        let mut command = match self {
            Self::Perf => program("perf")?,
            Self::Strace => program("strace")?,
        };
        match self {
            Self::Perf => {
                command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids, "-o"])
            }
            Self::Strace => command.args(["-c", "-f", "-p", &pids, "-o"]),
        };
        command.arg(file);
        Some(command)
    }

    fn read(self, text: &str) -> Option<u64> {
        match self {
            Self::Perf => {
                text.lines().find(|line| line.contains("sys_enter"))?.split(',').next()?.parse().ok()
            }
            Self::Strace => {
                let line = text.lines().find(|line| line.ends_with(" total"))?;
                line.split_whitespace().nth(3)?.parse().ok()
            }
        }
    }
}

/// The counter's process.
struct Watching(Child);

impl Watching {
    /// On an interrupt it writes what it has counted.
    fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn the_number_is_found_in_what_each_counter_writes() {
        let perf = "# started on Wed\n\n90204,,raw_syscalls:sys_enter,326290737,100.00,,\n";
        let strace = "% time seconds usecs/call calls errors syscall\n 41.14 0.366668 9 40001 write\n\
                      100.00    0.891371          10     82232         4 total\n";
        assert_eq!((Counter::Perf.read(perf), Counter::Strace.read(strace)), (Some(90_204), Some(82_232)));
        assert_eq!(Counter::Perf.read("<not counted>,,raw_syscalls:sys_enter,0,,"), None);
    }
}
