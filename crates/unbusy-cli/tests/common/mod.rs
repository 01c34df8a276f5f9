//! The `unbusy` binary with an environment of the test's own.
#![allow(dead_code, reason = "each test binary uses its share")]

pub(crate) mod screen;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// `unbusy ARGS…`, with no variables but PATH.
pub(crate) fn unbusy(args: &[&str]) -> Command {
    with_own_environment(env!("CARGO_BIN_EXE_unbusy"), args)
}

/// Any program, with no variables but PATH.
pub(crate) fn with_own_environment(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Runs to the end; the exit code, standard output and standard error.
pub(crate) fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8 text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A running command, killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts the command and collects the lines of its standard error.
    pub(crate) fn with_log(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let lines = collect(child.stderr.take().expect("a pipe"));
        Self { child, lines }
    }

    /// Starts the command and collects the lines of its standard output.
    pub(crate) fn with_output(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the command starts");
        let lines = collect(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    /// The next line that contains `text`.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let mut others = Vec::new();
        let deadline = Instant::now() + SOON;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => others.push(line),
                Err(error) => panic!("no line with {text:?}: {error}; there were {others:#?}"),
            }
        }
    }

    /// All lines to the end.
    pub(crate) fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("still running; it said {rest:#?}"),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Closes its standard input.
    pub(crate) fn close_input(&mut self) {
        self.child.stdin.take();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    pub(crate) fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("still running")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal: the end where a person types, and the end where programs read.
pub(crate) fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let keyboard =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("a terminal of our own");
    let name = ptsname(&keyboard, Vec::new()).expect("a terminal's name");
    let name = name.to_str().expect("a path");
    let terminal = File::options().read(true).write(true).open(name).expect("the terminal's other end");
    (File::from(keyboard), terminal)
}

fn collect(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
