//! The suite of the `redis` crate, which gets the types of the crate unbusy.

mod facts;
mod package;
mod stage;

use std::path::PathBuf;

use anyhow::Result;
use testkit::Flavor;

use super::{Facts, LeftOut, Results, Suite, Way};
use crate::servers;
use facts::{DIFFERENCES, FILES_NOT_RUN, LEFT_OUT};
use package::Package;
use stage::Stage;

pub(super) struct RedisRs {
    package: Package,
    stage: Stage,
    facts: Facts,
}

impl RedisRs {
    pub(super) fn make(server: Flavor, seed: u64) -> Result<Self> {
        let package = Package::make()?;
        let stage = Stage::set(servers::ensure_present(server)?, seed)?;
        let files =
            FILES_NOT_RUN.map(|(name, reason)| LeftOut { name, place: "", with_unbusy: false, reason });
        let facts = Facts {
            name: "redis-rs",
            title: "The test suite of the `redis` crate",
            introduction: introduction(&package.version, server),
            left_out: LEFT_OUT.iter().copied().chain(files).collect(),
            differences: DIFFERENCES,
        };
        Ok(Self { package, stage, facts })
    }
}

impl Suite for RedisRs {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn test(&self, way: Way, filter: Option<&str>) -> Result<Results> {
        Results::of(&self.package.test(way, filter, &self.stage)?, short)
    }
}

fn introduction(version: &str, server: Flavor) -> String {
    format!(
        "\
The suite of the `redis` crate {version} is run on {server} in several ways. *With unbusy* means that the tests, unchanged but
for some lines that connect to clusters, get unbusy's types by the names of those of the crate. *Busy* means that
every server of a test runs scripts of 30 to 250 ms at random, with pauses of at most 300 ms, and answers BUSY after 10 ms."
    )
}

/// nextest names a test `package::binary$path`; `binary: path` says enough.
fn short(name: &str) -> String {
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    name.replacen('$', ": ", 1)
}

fn target() -> Result<PathBuf> {
    super::target("redis-rs")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn names_are_shortened_to_what_is_needed() {
        assert_eq!(short("suite::basic$a::b"), "basic: a::b");
    }
}
