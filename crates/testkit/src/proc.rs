//! What the kernel tells of a process.

use std::{fs, time::Duration};

/// The memory it occupies.
pub(crate) fn rss_bytes(pid: u32) -> u64 {
    nth_number(&read(pid, "statm"), 1) * rustix::param::page_size() as u64
}

/// The processor time it has used, of all its threads.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The program's name, in parentheses, may contain blanks; the fields behind it are counted from 3.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = nth_number(fields, 14 - 3) + nth_number(fields, 15 - 3);
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// How many files and sockets it has open.
pub(crate) fn open_files(pid: u32) -> usize {
    let path = format!("/proc/{pid}/fd");
    fs::read_dir(&path).unwrap_or_else(|e| panic!("{path}: {e}")).count()
}

fn read(pid: u32, name: &str) -> String {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn nth_number(text: &str, n: usize) -> u64 {
    let field = text.split_whitespace().nth(n).and_then(|field| field.parse().ok());
    field.unwrap_or_else(|| panic!("no number in field {n} of {text:?}"))
}
