//! The files that a measurement leaves: all rounds as JSON under `target/bench`, and, if that is asked for, those parts of
//! `docs/benchmarks.md` that are not written by hand.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::machine::About;
use crate::shell;

const PAGE: &str = "docs/benchmarks.md";

/// Where plots lie in the documentation.
pub(super) fn plots() -> PathBuf {
    shell::root().join("docs/benchmarks")
}

/// Where everything is left.
pub(super) fn folder() -> Result<PathBuf> {
    let folder = shell::target()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Leaves all that was measured; returns the file.
pub(super) fn save(name: &str, about: &About, json: &Value) -> Result<PathBuf> {
    let stamp: String = about.date.chars().filter(char::is_ascii_digit).collect();
    let file = folder()?.join(format!("{name}-{stamp}.json"));
    write(&file, &format!("{json:#}\n"))?;
    Ok(file)
}

/// A part of the page, between two lines that name the command that writes it.
pub(super) struct Part(&'static str);

pub(super) const COSTS: Part = Part("cargo xtask bench --write");
pub(super) const STRICT: Part = Part("cargo xtask bench strict --write");

impl Part {
    pub(super) fn publish(&self, content: impl Display) -> Result<()> {
        let page = shell::root().join(PAGE);
        let text = fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
        let [begin, end] = self.marks();
        let text = self.replace(&text, &format!("\n{content}\n"));
        write(&page, &text.with_context(|| format!("{PAGE} must have the lines\n{begin}{end}"))?)
    }

    fn marks(&self) -> [String; 2] {
        ["what follows", "the end of what"]
            .map(|what| format!("<!-- {what} is written by `{}` -->\n", self.0))
    }

    fn replace(&self, text: &str, part: &str) -> Option<String> {
        let [first, last] = self.marks();
        let begin = text.find(&first)? + first.len();
        let end = begin + text[begin..].find(&last)?;
        Some(format!("{}{part}{}", &text[..begin], &text[end..]))
    }
}

pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let [begin, end] = COSTS.marks();
        let page = |part: &str| format!("by hand\n{begin}{part}{end}by hand, too\n");
        assert_eq!(COSTS.replace(&page("old\n"), "new\n"), Some(page("new\n")));
        assert_eq!(STRICT.replace(&page("old\n"), "new\n"), None);
    }

    #[test]
    fn the_page_has_the_marks() {
        let text = fs::read_to_string(shell::root().join(PAGE)).unwrap();
        assert!(COSTS.replace(&text, "").is_some() && STRICT.replace(&text, "").is_some());
    }
}
