//! The suite of redis-py, through the proxy or with the Python package.

mod facts;
mod rig;
mod source;

use std::{
    fs, iter,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use testkit::Flavor;

use super::{
    Difference, Facts, LeftOut, Suite, Way,
    results::{self, Results},
};
use crate::{package, python, servers, shell};
use facts::{DIFFERENCES, DIFFERENCES_OF_THE_PACKAGE, FILES_NOT_RUN, MARKS_NOT_RUN, QUICK_PART};
use rig::Rig;
use source::Source;

/// So many of its files are run at once, each with a server of its own; most of their time is waiting.
const AT_ONCE: usize = 2;
/// For one test; what waits behind scripts and other tests may take longer than the suite allows by itself.
const TIMEOUT: &str = "--timeout=120";
/// Between two looks whether the tests begin.
const RETRY: Duration = Duration::from_millis(10);
/// What pytest says if it ran tests: all passed, or some failed.
const RUN: [i32; 2] = [0, 1];

/// How the suite meets unbusy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    Proxy,
    /// `unbusy.install()` before anything else.
    Package,
}

impl Meeting {
    const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "redis-py",
            Self::Package => "redis-py-package",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Proxy => "The test suite of redis-py",
            Self::Package => "The test suite of redis-py with the Python package",
        }
    }

    const fn differences(self) -> &'static [Difference] {
        match self {
            Self::Proxy => DIFFERENCES,
            Self::Package => DIFFERENCES_OF_THE_PACKAGE,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Proxy => "through `unbusy\nproxy` with its default settings",
            Self::Package => {
                "after\n`unbusy.install()`, so that all connections are those of the package `unbusy`"
            }
        }
    }
}

pub(super) struct RedisPy {
    meeting: Meeting,
    python: PathBuf,
    source: Source,
    server: Flavor,
    seed: u64,
    facts: Facts,
}

impl RedisPy {
    pub(super) fn make(meeting: Meeting, server: Flavor, seed: u64) -> Result<Self> {
        servers::ensure_present(server)?;
        let python = match meeting {
            Meeting::Proxy => {
                shell::unbusy_for_tests()?;
                python::environment()?
            }
            Meeting::Package => package::environment()?,
        };
        let source = Source::unpack(&python, FILES_NOT_RUN.iter().map(|(file, _)| *file))?;
        let left_out = FILES_NOT_RUN.iter().chain(MARKS_NOT_RUN);
        let left_out = left_out.map(|(name, reason)| LeftOut { name, place: "", with_unbusy: false, reason });
        let facts = Facts {
            name: meeting.name(),
            title: meeting.title(),
            introduction: introduction(&source.version, server, meeting),
            left_out: left_out.collect(),
            differences: meeting.differences(),
        };
        Ok(Self { meeting, python, source, server, seed, facts })
    }

    /// Those files only that take a few seconds.
    pub(super) fn quick_part(server: Flavor) -> Result<Self> {
        let mut suite = Self::make(Meeting::Proxy, server, 1)?;
        suite.source.files = QUICK_PART.map(str::to_owned).to_vec();
        Ok(suite)
    }

    /// Runs one file, or what the filter selects of it, and what fails of that again, twice at most, unless it was told BUSY:
    /// on a machine that has other things to do as well, a test that measures time may fail for once, or end all. Returns lines of JSON for each
    /// test and try.
    fn test_file(&self, number: usize, way: Way, filter: Option<&str>) -> Result<String> {
        let file = &self.source.files[number];
        let folder = super::target(self.meeting.name())?.join(format!("{way:?}")).join(file);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let seed = self.seed.rotate_left(32) ^ number as u64;
        let mut events = String::new();
        let mut tests = vec![filter.unwrap_or(file).to_owned()];
        for number in 1..=tries(way) {
            let folder = folder.join(format!("try-{number}"));
            fs::create_dir_all(&folder)?;
            // With the same scripts at the same times it would be the same again.
            let outcomes = self.try_tests(&tests, way, seed ^ ((number as u64) << 16), &folder)?;
            tests = results::may_be_chance(&outcomes);
            tests.extend(results::unfinished(&outcomes));
            events += &outcomes;
            if tests.is_empty() {
                break;
            }
        }
        Ok(events)
    }

    /// What pytest says goes to a file in the folder, and so does what the proxy says.
    fn try_tests(&self, tests: &[String], way: Way, seed: u64, folder: &Path) -> Result<String> {
        let (events, log) = (folder.join("events"), folder.join("pytest.log"));
        let mut rig = Rig::set(self.server, way, self.meeting)?;
        let mut pytest = shell::command(&self.python, &["-m", "pytest", "-p", "no:cacheprovider"]);
        pytest.args(["-p", "suite", "-q", "-m", &marks()]).arg(format!("--redis-url={}/0", rig.url()));
        // Anything but a plain traceback takes pytest seconds in files of this size.
        pytest.args(["--tb=native", TIMEOUT]).args(tests.iter().map(|test| format!("tests/{test}")));
        pytest.current_dir(&self.source.folder).env("PYTHONPATH", shell::root().join("tests/redis-py"));
        pytest.env("UNBUSY_SUITE_EVENTS", &events).env("UNBUSY_SUITE_PORT", rig.port());
        if way.has_unbusy() && self.meeting == Meeting::Package {
            pytest.env("UNBUSY_SUITE_INSTALL", "1");
        }
        let output = fs::File::create(&log)?;
        pytest.stdout(output.try_clone()?).stderr(output);
        let mut process = pytest.spawn().with_context(|| format!("cannot run `{}`", shell::line(&pytest)))?;
        if way.is_busy() {
            // The plugin makes the file when the tests are about to begin.
            while !events.exists() && process.try_wait()?.is_none() {
                thread::sleep(RETRY);
            }
            rig.begin_storm(seed);
        }
        let status = process.wait()?;
        rig.end(folder)?;
        if !status.code().is_some_and(|code| RUN.contains(&code)) {
            // What it has not run is told as missing.
            eprintln!("    pytest failed ({status}): see {}", log.display());
        }
        fs::read_to_string(&events).with_context(|| format!("no test was run: see {}", log.display()))
    }
}

/// Without unbusy most tests fail on a busy server; trying them again would take long and show nothing.
const fn tries(way: Way) -> usize {
    if matches!(way, Way::OriginalBusy) { 1 } else { 3 }
}

impl Suite for RedisPy {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn test(&self, way: Way, filter: Option<&str>) -> Result<Results> {
        eprintln!(
            "    what fails is told below {}",
            super::target(self.meeting.name())?.join(format!("{way:?}")).display()
        );
        let is_selected = |number: &usize| {
            filter.is_none_or(|filter| filter.starts_with(self.source.files[*number].as_str()))
        };
        let queue = Mutex::new((0..self.source.files.len()).filter(is_selected));
        let next = || queue.lock().expect("no worker panics with it").next();
        let work = || {
            iter::from_fn(next).map(|number| self.test_file(number, way, filter)).collect::<Result<String>>()
        };
        let events = thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let done = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
            done.collect::<Result<String>>()
        })?;
        Results::of(&events, str::to_owned)
    }
}

/// The expression for pytest that leaves out what is marked.
fn marks() -> String {
    MARKS_NOT_RUN.iter().map(|(mark, _)| format!("not {mark}")).collect::<Vec<_>>().join(" and ")
}

fn introduction(version: &str, server: Flavor, meeting: Meeting) -> String {
    let meaning = meeting.meaning();
    format!(
        "\
The suite of redis-py {version}, sync and asyncio, is run on {server} in several ways. *With unbusy* means {meaning}. *Busy* means that the server runs scripts of 30 to 250 ms at random, with pauses of at most
300 ms, and answers BUSY after 10 ms; a quiet one answers BUSY after 5 s. Each file of the suite gets a new server in each way. A
test that fails but was not told BUSY is tried again, twice at most, since many of these tests measure time; but not as it is
on a busy server."
    )
}
