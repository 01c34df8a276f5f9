//! The `unbusy` binary as a person has it before them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, terminal, with_own_environment};

const ROWS: usize = 24;
const COLUMNS: usize = 80;

/// A command in a terminal of 80 columns, killed when dropped.
pub(crate) struct Screen {
    child: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    /// All that was written, from what was waited for last on.
    pub(crate) seen: String,
    grid: Grid,
}

impl Screen {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// With variables besides PATH and TERM.
    pub(crate) fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let (keyboard, terminal) = terminal();
        let script = format!("stty rows {ROWS} cols {COLUMNS}; exec \"$@\"");
        let program = ["--ctty", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_unbusy")];
        let end = || terminal.try_clone().expect("a terminal");
        let mut command = with_own_environment("setsid", &program);
        command.args(args).env("TERM", "xterm").envs(variables.iter().copied());
        let command = command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("the command starts");
        let output = read_all(keyboard.try_clone().expect("a terminal"));
        Self { child, keyboard, output, seen: String::new(), grid: Grid::default() }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Waits until this is written behind what was waited for before.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(self.read(SOON), "no {text:?}; there is {:?}", self.seen);
        }
        self.seen = self.seen.split_off(self.seen.find(text).unwrap_or_default());
    }

    /// Waits until the screen shows what is wanted; what it shows then.
    pub(crate) fn wait_to_see(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let text = self.grid.text();
            if wanted(&text) {
                return text;
            }
            assert!(begin.elapsed() < SOON, "{what} is not to be seen:\n{text}");
            self.read(Duration::from_millis(100));
        }
    }

    /// Whether something was written within the time.
    fn read(&mut self, within: Duration) -> bool {
        let Ok(bytes) = self.output.recv_timeout(within) else { return false };
        let text = String::from_utf8_lossy(&bytes);
        self.grid.write(&text);
        self.seen += &text;
        true
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Closes the terminal, once something more was written to it; the exit code.
    pub(crate) fn exit_without_terminal(&mut self) -> Option<i32> {
        self.keyboard = File::open("/dev/null").expect("nothing to write to");
        // Nobody listens, upon which the thread that reads closes its end.
        self.output = channel().1;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                assert!(status.code().is_some(), "{status}");
                return status.code();
            }
            assert!(begin.elapsed() < SOON, "it goes on without a terminal");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn exit(&mut self) -> Option<i32> {
        let code = self.child.wait().expect("a child").code();
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.seen += &String::from_utf8_lossy(&bytes);
        }
        code
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal makes of the little that is written to it: characters, places and erasing.
#[derive(Default)]
struct Grid {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// An escape sequence that has not ended.
    escape: Option<String>,
}

impl Grid {
    fn write(&mut self, text: &str) {
        self.cells.resize(ROWS, vec![' '; COLUMNS]);
        for c in text.chars() {
            match self.escape.take() {
                Some(mut escape) => {
                    escape.push(c);
                    if escape.len() > 1 && c.is_ascii_alphabetic() {
                        self.obey(&escape);
                    } else {
                        self.escape = Some(escape);
                    }
                }
                None if c == '\x1b' => self.escape = Some(String::new()),
                None => self.put(c),
            }
        }
    }

    fn obey(&mut self, escape: &str) {
        let numbers = escape.trim_matches(|c: char| !c.is_ascii_digit()).split(';');
        let mut numbers = numbers.map(|number| number.parse::<usize>().unwrap_or(1).max(1) - 1);
        match escape.chars().last() {
            Some('H') => {
                self.row = numbers.next().unwrap_or_default();
                self.column = numbers.next().unwrap_or_default();
            }
            Some('J') => self.cells = vec![vec![' '; COLUMNS]; ROWS],
            _ => {}
        }
    }

    fn put(&mut self, c: char) {
        if let Some(cell) = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *cell = c;
        }
        self.column += 1;
    }

    fn text(&self) -> String {
        let lines: Vec<String> = self.cells.iter().map(|row| row.iter().collect()).collect();
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }
}

fn read_all(mut from: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
