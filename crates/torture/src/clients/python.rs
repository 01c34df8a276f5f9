//! A process in Python, which uses redis-py through a proxy and says line by line what it does.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    check::CHANGED,
    history::{Act, Outcome, Pen, Token, Transfer},
    stage::{Stage, spawn},
    wire::PATIENCE,
};

const PROGRAM: &str = include_str!("python.py");
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn start(stage: &Arc<Stage>, python: &Path, proxy: &str, stream: u64) -> JoinHandle<()> {
    let port = proxy.rsplit(':').next().unwrap_or_default();
    let seed = stage.seed.wrapping_mul(1_000).wrapping_add(stream).to_string();
    let mut child = Command::new(python)
        .args(["-c", PROGRAM, port, &seed, &PATIENCE.as_secs().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python can be started");
    let stage = Arc::clone(stage);
    let name = "redis-py";
    spawn(name, move || {
        let output = child.stdout.take().expect("a pipe");
        let input = child.stdin.take().expect("a pipe");
        let listener = {
            let stage = Arc::clone(&stage);
            thread::spawn(move || listen(&stage, output, input))
        };
        // The end of its input, which the listener has, is what ends it.
        let complete = listener.join();
        end(child);
        complete.expect("what Python said was understood");
    })
}

fn end(mut child: Child) {
    let status = child.wait().expect("a child");
    assert!(status.success(), "Python ended with {status}");
}

/// Writes down what it says; closes its input when the round ends.
fn listen(stage: &Arc<Stage>, output: impl std::io::Read, input: ChildStdin) {
    let input = std::sync::Mutex::new(Some(input));
    thread::scope(|scope| {
        scope.spawn(|| {
            while stage.goes_on() {
                thread::sleep(LOOK);
            }
            input.lock().expect("the input").take();
        });
        let mut pen: Option<Pen> = None;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line == "line" {
                let next = stage.recorder.line("redis-py", true);
                if let Some(input) = input.lock().expect("the input").as_mut() {
                    // It may have ended.
                    let _ = writeln!(input, "{}", next.id());
                }
                pen = Some(next);
            } else {
                note(pen.as_ref().expect("a line comes first"), &line);
            }
        }
    });
}

fn note(pen: &Pen, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["ask", "push", list] => drop(pen.ask(Act::Push { list: list.into() })),
        ["ask", "count", counter] => drop(pen.ask(Act::Count { counter: counter.into() })),
        ["ask", "transfer", from, to, amount] => drop(pen.ask(Act::Transfer(transfer(from, to, amount)))),
        ["ask", "watched", from, to, amount] => drop(pen.ask(Act::Watched(transfer(from, to, amount)))),
        ["tell", place, "done"] => pen.tell(token(pen, place), Outcome::Done(None)),
        ["tell", place, "done", number] => {
            pen.tell(token(pen, place), Outcome::Done(Some(number.parse().expect("a number"))));
        }
        ["tell", place, "changed"] => pen.tell(token(pen, place), Outcome::Refused(CHANGED.into())),
        ["tell", place, "refused", ..] => pen.tell(token(pen, place), Outcome::Refused(words[3..].join(" "))),
        ["complain", ..] => pen.complain(words[1..].join(" ")),
        _ => panic!("Python said {line:?}"),
    }
}

fn transfer(from: &str, to: &str, amount: &str) -> Transfer {
    Transfer { from: from.into(), to: to.into(), amount: amount.parse().expect("a number") }
}

fn token(pen: &Pen, place: &str) -> Token {
    Token { line: pen.id(), place: place.parse().expect("a place") }
}
