//! What the system tells of a process, and the limit on open files.

use std::{
    fs, iter, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    param,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// The process and its children.
pub(super) fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    iter::once(pid).chain(children).collect()
}

/// Seconds of processor time, user and system, of all threads (`man 5 proc_pid_stat`).
pub(super) fn cpu_time(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_time_of(*pid)).sum()
}

fn cpu_time_of(pid: u32) -> Result<f64> {
    let text = read(pid, "stat")?;
    let ticks = cpu_ticks(&text).with_context(|| format!("/proc/{pid}/stat is not as expected: {text}"))?;
    Ok(ticks as f64 / param::clock_ticks_per_second() as f64)
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The program's name, in parentheses, may contain blanks; the fields behind it are counted from 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// Resident memory, once it has not grown for a while.
pub(super) fn settled_rss(pids: &[u32]) -> Result<u64> {
    const LIMIT: Duration = Duration::from_secs(10);
    let start = Instant::now();
    let mut last = rss(pids)?;
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = rss(pids)?;
        if now <= last || start.elapsed() > LIMIT {
            return Ok(now);
        }
        last = now;
    }
}

fn rss(pids: &[u32]) -> Result<u64> {
    pids.iter().map(|pid| rss_of(*pid)).sum()
}

fn rss_of(pid: u32) -> Result<u64> {
    let text = read(pid, "statm")?;
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.with_context(|| format!("/proc/{pid}/statm is not as expected: {text}"))?;
    Ok(pages * param::page_size() as u64)
}

fn read(pid: u32, name: &str) -> Result<String> {
    let file = format!("/proc/{pid}/{name}");
    fs::read_to_string(&file).with_context(|| format!("{file}: has the process ended?"))
}

/// Makes room for so many descriptors in this process, as far as the system lets us.
pub(super) fn raise_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // What then fails for want of descriptors says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    }
}

#[cfg(test)]
mod tests {
    use super::cpu_ticks;

    #[test]
    fn user_and_system_time_are_added_whatever_the_name() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194560 100 0 3 0 250 1300 0 0 20 0 3 0 7 9 9";
        assert_eq!(cpu_ticks(stat), Some(1550));
    }
}
