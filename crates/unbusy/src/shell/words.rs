//! The words of a command of the `redis` crate.

use super::redis::{Arg, Cmd};
use unbusy_core::Script;
use unbusy_core::command::Command;

/// The words of a command, given its arguments; a cursor, which iterators fill in, counts as its first value.
pub(crate) fn words<'a>(args: impl Iterator<Item = Arg<&'a [u8]>>) -> impl Iterator<Item = &'a [u8]> {
    args.map(|arg| match arg {
        Arg::Simple(word) => word,
        _ => b"0",
    })
}

/// What the engine must know of a command.
pub(crate) fn describe(command: &Cmd) -> Command {
    Command::of_words(words(command.args_iter()))
}

/// The script that it runs, if it runs one.
pub(crate) fn script(command: &Cmd) -> Option<Script<'_>> {
    Script::run_by(words(command.args_iter()))
}

/// Whether it must be taken note of, even if it goes straight through.
pub(crate) fn watches(command: &Cmd) -> bool {
    words(command.args_iter()).next().is_some_and(is_watch)
}

pub(crate) fn is_watch(name: &[u8]) -> bool {
    name.len() == 5 && name.eq_ignore_ascii_case(b"WATCH")
}

/// How long a command of these words is on the line, and not less.
#[cfg(feature = "aio")]
pub(crate) fn length<'a>(words: impl Iterator<Item = &'a [u8]>) -> u64 {
    /// `$`, up to ten digits, and two line ends.
    const HEADER_BYTES_MAX: u64 = 15;
    HEADER_BYTES_MAX + words.map(|word| HEADER_BYTES_MAX + word.len() as u64).sum::<u64>()
}
