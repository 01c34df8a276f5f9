//! The files that a measurement leaves: JSON and plots under `target/bench`, and, if that is asked for, the part of
//! `docs/benchmarks.md` that is not written by hand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    peers::UNBUSY,
    plot::{self, Bar, Group},
    results::Results,
};
use crate::shell;

const PAGE: &str = "docs/benchmarks.md";
const PLOTS: &str = "docs/benchmarks";
const BEGIN: &str = "<!-- what follows is written by `cargo xtask bench --write` -->\n";
const END: &str = "<!-- the end of what is written by `cargo xtask bench --write` -->\n";
const IMAGES: &str = "\
![CPU per command relative to haproxy](benchmarks/cpu.svg)

![Memory of idle clients](benchmarks/memory.svg)
";

/// Writes JSON and plots; returns the JSON file.
pub(super) fn save(results: &Results) -> Result<PathBuf> {
    let folder = shell::target()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let stamp: String = results.about.date.chars().filter(char::is_ascii_digit).collect();
    let file = folder.join(format!("{stamp}.json"));
    write(&file, &format!("{:#}\n", results.json()))?;
    plots(results, &folder)?;
    Ok(file)
}

/// Puts tables and plots into the documentation.
pub(super) fn publish(results: &Results) -> Result<()> {
    let page = shell::root().join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {PAGE}"))?;
    let part = format!("\n{results}{}\n", images(results));
    let text = replace(&text, &part).with_context(|| format!("{PAGE} must have the lines\n{BEGIN}{END}"))?;
    write(&page, &text)?;
    let folder = shell::root().join(PLOTS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {PLOTS}"))?;
    plots(results, &folder)
}

fn images(results: &Results) -> &'static str {
    if results.idle.is_some() { IMAGES } else { IMAGES.split_inclusive('\n').next().unwrap_or_default() }
}

fn replace(text: &str, part: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!("{}{part}{}", &text[..begin], &text[end..]))
}

fn plots(results: &Results, folder: &Path) -> Result<()> {
    let groups = results.measured.iter().map(|measured| {
        let bars = measured.names().filter_map(|name| {
            let ratio = measured.cpu_to_haproxy(name)?;
            let range = Some((ratio.min, ratio.max)).filter(|(min, max)| min < max);
            Some(Bar { label: name, value: ratio.median, range, ours: name == UNBUSY })
        });
        let bars = bars.filter(|bar| bar.label != super::rig::DIRECT).collect();
        Group { title: measured.case.title().replace('`', ""), bars }
    });
    let groups: Vec<_> = groups.collect();
    write(&folder.join("cpu.svg"), &plot::bars("CPU per command relative to haproxy", &groups, Some(1.0)))?;
    if results.idle.is_some() {
        let bar = |name: &&'static str| {
            let value = results.memory(name)?;
            Some(Bar { label: name, value, range: None, ours: *name == UNBUSY })
        };
        let bars = results.proxies().iter().filter_map(bar).collect();
        let group = Group { title: String::new(), bars };
        write(&folder.join("memory.svg"), &plot::bars("MiB per 1,000 idle clients", &[group], None))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let page = format!("by hand\n{BEGIN}old\n{END}by hand, too\n");
        assert_eq!(replace(&page, "new\n"), Some(format!("by hand\n{BEGIN}new\n{END}by hand, too\n")));
        assert_eq!(replace("no marks", "new"), None);
    }

    #[test]
    fn the_page_has_the_marks() {
        let text = fs::read_to_string(shell::root().join(PAGE)).unwrap();
        assert!(replace(&text, "").is_some());
    }
}
