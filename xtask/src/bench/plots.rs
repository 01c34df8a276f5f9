//! What is shown as bars.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    page::write,
    peers,
    plot::{self, Bar, Group},
    results::Results,
    rig::DIRECT,
};

const CPU: &str = "CPU per command relative to haproxy";
const MEMORY: &str = "MiB per 1,000 idle clients";

/// The lines that show them in a page beside their folder.
pub(super) fn images(results: &Results) -> String {
    let memory =
        results.idle.as_ref().map_or(String::new(), |_| format!("\n![{MEMORY}](benchmarks/memory.svg)\n"));
    format!("![{CPU}](benchmarks/cpu.svg)\n{memory}")
}

/// Writes them.
pub(super) fn save(results: &Results, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    write(&folder.join("cpu.svg"), &plot::bars(CPU, &cpu(results), Some(1.0)))?;
    if results.idle.is_some() {
        write(&folder.join("memory.svg"), &plot::bars(MEMORY, &[memory(results)], None))?;
    }
    Ok(())
}

fn cpu(results: &Results) -> Vec<Group> {
    let groups = results.measured.iter().map(|measured| {
        let bars = measured.names().filter(|name| *name != DIRECT).filter_map(|name| {
            let ratio = measured.cpu_to_haproxy(name)?;
            let range = Some((ratio.min, ratio.max)).filter(|(min, max)| min < max);
            Some(Bar { label: name, value: ratio.median, range, ours: peers::is_ours(name) })
        });
        Group { title: measured.case.title().replace('`', ""), bars: bars.collect() }
    });
    groups.collect()
}

fn memory(results: &Results) -> Group {
    let bars = results.proxies().into_iter().filter_map(|name| {
        let value = results.memory(name)?;
        Some(Bar { label: name, value, range: None, ours: peers::is_ours(name) })
    });
    Group { title: String::new(), bars: bars.collect() }
}
