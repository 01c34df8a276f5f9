//! The inputs in the repository: few, and those that reach most of the code together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use super::Target;
use crate::shell;

/// Replaces the inputs in the repository by so many of all that are known.
pub(super) fn choose(target: Target, count: usize) -> Result<()> {
    let (found, seeds) = (target.found()?, target.seeds());
    let work = tempfile::tempdir().context("cannot create a folder for the choice")?;
    let merged = work.path().join("merged");
    fs::create_dir(&merged)?;
    let reached = work.path().join("reached");
    let mut merge = target.fuzzer(&[&merged, &found, &seeds]);
    // How often code is reached does not count, or nearly all inputs would be worth keeping.
    merge.args(["-set_cover_merge=1", "-use_counters=0"]);
    merge.arg(format!("-merge_control_file={}", reached.display()));
    shell::run(&mut merge)?;
    let text = fs::read_to_string(&reached).with_context(|| format!("cannot read {}", reached.display()))?;
    let chosen: Vec<(String, Vec<u8>)> = best(read(&text), count)
        .into_iter()
        .map(|path| Ok((file_name(path), fs::read(path)?)))
        .collect::<Result<_>>()?;
    fs::remove_dir_all(&seeds)?;
    fs::create_dir_all(&seeds)?;
    for (name, input) in &chosen {
        fs::write(seeds.join(name), input)?;
    }
    eprintln!("=== {} inputs are kept in {}", chosen.len(), seeds.display());
    Ok(())
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Reads what each input reaches, as libFuzzer tells it: a number of inputs, another number, the paths, and for each of
/// them `FT`, its position, and what it reaches.
fn read(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let count = text.lines().next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let paths: Vec<&str> = text.lines().skip(2).take(count).collect();
    let features = text.lines().filter_map(|line| line.strip_prefix("FT "));
    let inputs = features.filter_map(|line| {
        let mut numbers = line.split(' ');
        let path = paths.get(numbers.next()?.parse::<usize>().ok()?)?;
        Some((*path, numbers.collect()))
    });
    inputs.collect()
}

/// Again and again that which reaches most of what none before did.
fn best<'a>(mut inputs: BTreeMap<&'a str, BTreeSet<&'a str>>, count: usize) -> Vec<&'a str> {
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let most = inputs.iter().max_by_key(|(_, reached)| reached.len());
        let Some((path, reached)) = most.map(|(path, reached)| (*path, reached.clone())) else { break };
        if reached.is_empty() {
            break;
        }
        chosen.push(path);
        for others in inputs.values_mut() {
            others.retain(|feature| !reached.contains(feature));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{best, read};

    #[test]
    fn what_reaches_most_together_is_chosen() {
        let text = "3\n0\n/a\n/b\n/c\nSTARTED 0 9\nFT 0 1 2 3\nSTARTED 1 9\nFT 1 2 3\nFT 2 4\nCOV 2 4\n";
        assert_eq!(best(read(text), 5), ["/a", "/c"]);
        assert_eq!(best(read(text), 1), ["/a"]);
    }
}
