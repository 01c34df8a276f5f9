//! The `unbusy` binary under test.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{leash::OwnedChild, proc};

const START_LIMIT: Duration = Duration::from_secs(20);
const LISTENING: &str = "listening on ";

/// A running `unbusy proxy`; killed when dropped.
///
/// ```no_run
/// # use testkit::{Client, Flavor, Proxy, Server};
/// let server = Server::start(Flavor::Valkey91);
/// let proxy = Proxy::start("target/debug/unbusy".as_ref(), &server.url(), &["--max-wait", "2s"]);
/// assert_eq!(Client::connect(proxy.address()).cmd(&["PING"]).text(), "PONG");
/// ```
#[derive(Debug)]
pub struct Proxy {
    process: OwnedChild,
    log: Arc<Log>,
    address: String,
}

impl Proxy {
    /// Runs `BIN proxy --listen 127.0.0.1:0 --upstream URL EXTRA…` and waits until it listens.
    pub fn start(bin: &Path, upstream_url: &str, extra_args: &[&str]) -> Self {
        let mut process = OwnedChild::spawn(
            Command::new(bin)
                .args(["proxy", "--listen", "127.0.0.1:0", "--upstream", upstream_url])
                .args(extra_args)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let log = Log::collect(process.get().stderr.take().expect("stderr is a pipe"));
        let line = log.wait(LISTENING, START_LIMIT);
        let address = address_in(&line).expect("an address after `listening on`").to_owned();
        Self { process, log, address }
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All it has written to its standard error so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for a log line that contains `text` and returns it; lines that are already there count.
    pub fn wait_log(&self, text: &str, timeout: Duration) -> String {
        self.log.wait(text, timeout)
    }

    /// The memory it occupies.
    pub fn rss_bytes(&self) -> u64 {
        proc::rss_bytes(self.pid())
    }

    /// The processor time it has used, of all its threads.
    pub fn cpu_time(&self) -> Duration {
        proc::cpu_time(self.pid())
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        proc::open_files(self.pid())
    }

    /// Sends SIGTERM.
    pub fn terminate(&mut self) {
        let pid = Pid::from_child(self.process.get());
        kill_process(pid, Signal::TERM).expect("cannot signal the proxy");
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.get().try_wait().expect("cannot wait for the proxy")
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the proxy still runs after {timeout:?}; its log:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn address_in(line: &str) -> Option<&str> {
    line.split_once(LISTENING)?.1.split([' ', '"']).next()
}

/// The lines of a child's standard error, as they come.
#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn collect(stderr: ChildStderr) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.update(|state| state.lines.push(line));
            }
            writer.update(|state| state.ended = true);
        });
        log
    }

    fn update(&self, change: impl FnOnce(&mut LogState)) {
        change(&mut self.state.lock().expect("the log"));
        self.changed.notify_all();
    }

    fn text(&self) -> String {
        self.state.lock().expect("the log").lines.join("\n")
    }

    /// The first line that contains `text`.
    fn wait(&self, text: &str, timeout: Duration) -> String {
        let found = |state: &LogState| state.lines.iter().find(|line| line.contains(text)).cloned();
        let state = self.state.lock().expect("the log");
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| found(state).is_none() && !state.ended)
            .expect("the log");
        let line = found(&state);
        let (lines, ended) = (state.lines.join("\n"), state.ended);
        // A poisoned log would hide the reason of the panic below.
        drop(state);
        line.unwrap_or_else(|| {
            let when = if ended { "before its end".to_owned() } else { format!("within {timeout:?}") };
            panic!("the proxy did not log {text:?} {when}; its log:\n{lines}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn finds_the_address_in_a_log_line() {
        let line = "2026-01-01T00:00:00Z  INFO listening on 127.0.0.1:4321 upstream=redis://x";
        assert_eq!(address_in(line), Some("127.0.0.1:4321"));
        let line = r#"{"level":"INFO","message":"listening on 127.0.0.1:4321","listen":"127.0.0.1:4321"}"#;
        assert_eq!(address_in(line), Some("127.0.0.1:4321"));
    }
}
