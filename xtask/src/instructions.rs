//! `cargo xtask instructions`: how many instructions the paths take that every command takes, held against those that
//! `instructions.toml` remembers.
//!
//! Unlike time, that hardly wavers on a machine that others share. Valgrind counts a short run and a long one, and the
//! difference leaves out what starting and connecting cost.

mod baseline;
mod peer;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{debian, shell};
use baseline::{Baseline, FILE};

#[derive(Args)]
pub(crate) struct InstructionsArgs {
    /// Remember what is counted now.
    #[arg(long)]
    write: bool,
}

/// What is counted.
struct Subject {
    name: &'static str,
    /// The words for the program in front of how many times it is to do it.
    words: &'static [&'static str],
    program: Program,
    /// How many commands once is.
    commands: u64,
}

#[derive(Clone, Copy)]
enum Program {
    /// `crates/instructions`, in release mode; its build takes seconds.
    Engine,
    /// The example `gets` of the library, in the mode of the tests: for them all that it needs has been compiled.
    Gets,
}

const SUBJECTS: [Subject; 9] = [
    Subject { name: "requests", words: &["requests"], program: Program::Engine, commands: 1 },
    Subject { name: "replies", words: &["replies"], program: Program::Engine, commands: 1 },
    Subject { name: "request-16k", words: &["request-16k"], program: Program::Engine, commands: 1 },
    Subject { name: "reply-16k", words: &["reply-16k"], program: Program::Engine, commands: 1 },
    Subject { name: "session-get", words: &["session-get"], program: Program::Engine, commands: 1 },
    Subject {
        name: "session-pipeline",
        words: &["session-pipeline"],
        program: Program::Engine,
        commands: 16,
    },
    Subject { name: "session-set-16k", words: &["session-set-16k"], program: Program::Engine, commands: 1 },
    Subject { name: "crate-blocking", words: &["unbusy", "blocking"], program: Program::Gets, commands: 1 },
    Subject { name: "crate-async", words: &["unbusy", "async"], program: Program::Gets, commands: 1 },
];

/// Times in the short and in the long run.
const TIMES: (u64, u64) = (500, 4_500);

/// Some processors copy large values with one instruction that counts once per byte; none is to do so here.
const SAME_ON_ALL: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000");

/// More than this of what is remembered is too much.
const TOLERANCE: f64 = 1.05;

const VALGRIND: debian::Program = debian::Program {
    name: "valgrind",
    packages: &["valgrind"],
    member: "usr/bin/valgrind",
    home: Some(("VALGRIND_LIB", "usr/libexec/valgrind")),
};

/// Counts; without `--write` it fails if something takes more than it did.
pub(crate) fn run(args: &InstructionsArgs) -> Result<()> {
    let counted = count_all()?;
    if args.write {
        Baseline { rustc: rustc()?, counts: counted }.write()?;
        eprintln!("instructions: {FILE} is written");
        return Ok(());
    }
    compare(&counted)
}

/// For `cargo xtask test`.
pub(crate) fn check() -> Result<()> {
    if !shell::is_linux_x86_64() {
        eprintln!("instructions: skipped, since {FILE} is of Linux on x86-64");
        return Ok(());
    }
    compare(&count_all()?)
}

fn compare(counted: &[(&'static str, u64)]) -> Result<()> {
    let baseline = Baseline::read()?;
    let mut grown = Vec::new();
    for &(name, now) in counted {
        let before = baseline.of(name).with_context(|| {
            format!("{FILE} does not know `{name}`: `cargo xtask instructions --write` adds it")
        })?;
        let change = (now as f64 / before as f64 - 1.0) * 100.0;
        let line = format!("{name:<17} {now:>7} instructions per command, {change:+.1}% of {before}");
        eprintln!("  {line}");
        if now as f64 > before as f64 * TOLERANCE {
            grown.push(line);
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    let (rustc, lines) = (rustc()?, grown.join("\n  "));
    let compiler = if rustc == baseline.rustc {
        format!("The compiler is the same ({rustc}), so the change did it.")
    } else {
        format!(
            "{FILE} was made with {}, this is {rustc}: if the code as it was before your change takes as many, \
             renew the file in a commit of its own.",
            baseline.rustc
        )
    };
    bail!(
        "more than 5% above {FILE}:\n  {lines}\n{compiler}\nFind what was added (`valgrind --tool=callgrind`, \
         `callgrind_annotate`). If it is worth its price, `cargo xtask instructions --write` remembers the new \
         counts, and the commit says why."
    )
}

fn count_all() -> Result<Vec<(&'static str, u64)>> {
    let valgrind = VALGRIND.get()?;
    let (engine, gets) = (build_engine()?, build_gets()?);
    let server = peer::start();
    let url = format!("{}/", server.url());
    let count = |subject: &Subject| {
        let total = |times: u64| match subject.program {
            Program::Engine => total(&valgrind, &engine, subject.words, &[&times.to_string()]),
            Program::Gets => total(&valgrind, &gets, subject.words, &[&times.to_string(), &url]),
        };
        let (short, long) = TIMES;
        let all = total(long)?.saturating_sub(total(short)?);
        Ok((subject.name, all / ((long - short) * subject.commands)))
    };
    SUBJECTS.iter().map(count).collect()
}

fn build_engine() -> Result<PathBuf> {
    shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "instructions"]))?;
    shell::built("release", "instructions")
}

/// With the features of the tests, so that nothing is compiled twice.
fn build_gets() -> Result<PathBuf> {
    shell::run(shell::cargo(&["build", "--quiet", "--example", "gets"]).args(shell::TESTED))?;
    shell::built("debug", "examples/gets")
}

/// All instructions of a run. Under valgrind and on a crowded machine the library may run into its time-out, so a run that fails
/// gets more tries.
fn total(valgrind: &Path, program: &Path, words: &[&str], more: &[&str]) -> Result<u64> {
    const TRIES: usize = 3;
    let mut result = try_total(valgrind, program, words, more);
    for _ in 1..TRIES {
        if result.is_err() {
            result = try_total(valgrind, program, words, more);
        }
    }
    result
}

fn try_total(valgrind: &Path, program: &Path, words: &[&str], more: &[&str]) -> Result<u64> {
    let mut command = shell::command(valgrind, &["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program).args(words).args(more).env(SAME_ON_ALL.0, SAME_ON_ALL.1);
    let output = command.output().with_context(|| format!("cannot run `{}`", shell::line(&command)))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = collected(&text).filter(|_| output.status.success());
    counted.with_context(|| {
        format!("`{}` failed ({}):\n{}", shell::line(&command), output.status, text.trim_end())
    })
}

fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected : "))?;
    line.1.trim().parse().ok()
}

fn rustc() -> Result<String> {
    let text = shell::output(&mut shell::command("rustc", &["--version"]))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        let text = "==8384== Events    : Ir\n==8384== Collected : 127246\n==8384== \n";
        assert_eq!((collected(text), collected("Killed")), (Some(127_246), None));
    }
}
