//! The counts that are remembered.

use std::{fmt::Write, fs};

use anyhow::{Context, Result};

use crate::shell;

pub(super) const FILE: &str = "crates/instructions/instructions.toml";

const HEAD: &str = "\
# Instructions per command; `cargo xtask test` fails at 5% more. They depend on the compiler, and a little on the C library.
# `cargo xtask instructions --write` writes this file.
";

pub(super) struct Baseline {
    /// What compiled it.
    pub(super) rustc: String,
    pub(super) counts: Vec<(&'static str, u64)>,
}

/// The same as read.
pub(super) struct Remembered {
    pub(super) rustc: String,
    counts: toml::Table,
}

impl Remembered {
    pub(super) fn of(&self, name: &str) -> Option<u64> {
        self.counts.get(name)?.as_integer()?.try_into().ok()
    }
}

impl Baseline {
    pub(super) fn read() -> Result<Remembered> {
        let text =
            fs::read_to_string(shell::root().join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        let mut table: toml::Table = text.parse().with_context(|| format!("in {FILE}"))?;
        let mut part = |name| table.remove(name).with_context(|| format!("no `{name}` in {FILE}"));
        let rustc = part("rustc")?.as_str().map(str::to_owned).context("`rustc` must be a text")?;
        let counts = part("instructions")?.try_into().context("`instructions` must be a table")?;
        Ok(Remembered { rustc, counts })
    }

    pub(super) fn write(&self) -> Result<()> {
        let mut text = format!("{HEAD}rustc = \"{}\"\n\n[instructions]\n", self.rustc);
        for (name, count) in &self.counts {
            writeln!(text, "{name} = {count}")?;
        }
        fs::write(shell::root().join(FILE), text).with_context(|| format!("cannot write {FILE}"))
    }
}
