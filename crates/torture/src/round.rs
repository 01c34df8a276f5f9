//! One round: an empty server, clients and chaos for some seconds, then the check.

use std::{
    any::Any,
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testkit::{Reply, Server};

use crate::{
    chaos::{self, Proxies},
    check::{self, Data, Fault, INITIAL, Kind},
    clients,
    history::{History, Recorder, Tally},
    script,
    stage::{Stage, accounts},
    wire::Wire,
};

/// How long clients may take to end. A pipeline may have a round trip per command, and on a machine that is overloaded many
/// of those are long.
const END: Duration = Duration::from_secs(240);
/// How long a proxy may keep a connection whose client is gone.
const GONE: Duration = Duration::from_secs(75);
/// How long nothing may change when all is over.
const STILL: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Plan<'a> {
    pub(crate) server: &'a Server,
    pub(crate) proxies: &'a Arc<Proxies>,
    pub(crate) python: Option<&'a Path>,
    pub(crate) seed: u64,
    /// In milliseconds.
    pub(crate) threshold: u64,
    pub(crate) length: Duration,
    pub(crate) first_line: u32,
    pub(crate) tally: &'a Arc<Tally>,
    pub(crate) episodes: &'a Arc<AtomicU64>,
    pub(crate) interrupt: &'a AtomicBool,
}

pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) data: Data,
    pub(crate) faults: Vec<Fault>,
    pub(crate) chaos: Vec<&'static str>,
    /// How many commands the server has rejected with BUSY.
    pub(crate) rejections: u64,
}

/// Plays a round; `progress` is called every now and then with what has been acknowledged so far.
pub(crate) fn play(plan: &Plan<'_>, mut progress: impl FnMut(u64, usize)) -> io::Result<Outcome> {
    let mut wire = Wire::connect(plan.server.address())?;
    prepare(&mut wire, plan.server.flavor() != testkit::Flavor::Redis62)?;
    let mut addresses = plan.proxies.addresses();
    let hasty = addresses.pop().expect("the last proxy is the hasty one");
    let recorder = Arc::new(Recorder::new(plan.first_line, Arc::clone(plan.tally)));
    let stage = Arc::new(Stage {
        server: plan.server.address().to_owned(),
        flavor: plan.server.flavor(),
        threshold: plan.threshold,
        patient: addresses,
        hasty,
        seed: plan.seed,
        recorder: Arc::clone(&recorder),
        chaos: std::sync::Mutex::default(),
        stopping: AtomicBool::new(false),
    });
    let mut threads = clients::start(&stage, plan.python);
    threads.extend(chaos::start(&stage, plan.proxies));
    threads.push(chaos::watch_episodes(&stage, plan.episodes));
    let end = Instant::now() + plan.length;
    while Instant::now() < end && !plan.interrupt.load(Relaxed) {
        thread::sleep(LOOK);
        progress(recorder.acknowledged(), stage.chaos.lock().expect("the chaos").len());
    }
    stage.stopping.store(true, Relaxed);
    let mut faults = join(threads);
    // What is still being executed cannot be checked.
    let ended = faults.iter().all(|fault| fault.kind != Kind::Silent);
    faults.extend(plan.proxies.settle().into_iter().map(|text| Fault::new(Kind::Strange, text)));
    faults.extend(wait_until_alone(&mut wire, plan.proxies.count())?);
    let data = snapshot(&mut wire)?;
    thread::sleep(STILL);
    if ended && snapshot(&mut wire)? != data {
        faults.push(Fault::new(Kind::Ghost, "something was executed when all clients were gone"));
    }
    let history = recorder.history();
    if ended {
        faults.extend(check::check(&history, &data));
    }
    let rejections = rejections(&mut wire)?;
    let chaos = std::mem::take(&mut *stage.chaos.lock().expect("the chaos"));
    Ok(Outcome { history, data, faults, chaos, rejections })
}

fn prepare(wire: &mut Wire, functions: bool) -> io::Result<()> {
    let mut must = |words: &[&str]| match wire.cmd(words)? {
        Reply::Error(text) => Err(io::Error::other(format!("{words:?} was answered {text:?}"))),
        _ => Ok(()),
    };
    must(&["CLIENT", "SETNAME", crate::stage::SPARED])?;
    must(&["FLUSHALL"])?;
    must(&["CONFIG", "RESETSTAT"])?;
    for account in accounts() {
        must(&["SET", &account, &INITIAL.to_string()])?;
    }
    if functions {
        must(&["FUNCTION", "FLUSH"])?;
        if let Reply::Error(text) = script::load_function(wire)? {
            return Err(io::Error::other(format!("FUNCTION LOAD was answered {text:?}")));
        }
    }
    Ok(())
}

/// Waits for all threads; those that do not end are a fault, and so are those that panicked.
fn join(threads: Vec<JoinHandle<()>>) -> Vec<Fault> {
    let deadline = Instant::now() + END;
    while Instant::now() < deadline && threads.iter().any(|thread| !thread.is_finished()) {
        thread::sleep(LOOK);
    }
    let mut faults = Vec::new();
    for thread in threads {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if !thread.is_finished() {
            faults.push(Fault::new(Kind::Silent, format!("{name} did not end within {END:?}")));
        } else if let Err(panic) = thread.join() {
            faults.push(Fault::new(Kind::Strange, format!("{name} panicked: {}", panic_text(&*panic))));
        }
    }
    faults
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// Waits until nobody is connected but us and the proxies themselves, which ask for the threshold.
fn wait_until_alone(wire: &mut Wire, proxies: usize) -> io::Result<Option<Fault>> {
    let deadline = Instant::now() + GONE;
    loop {
        let list = match wire.cmd(&["CLIENT", "LIST"])? {
            Reply::Bulk(list) => String::from_utf8_lossy(&list).into_owned(),
            // The last script may still be running.
            _ => String::new(),
        };
        if !list.is_empty() && chaos::others(&list).count() <= proxies {
            return Ok(None);
        }
        if Instant::now() > deadline {
            let what = format!("connections were left behind:\n{list}");
            return Ok(Some(Fault::new(Kind::Strange, what)));
        }
        thread::sleep(LOOK);
    }
}

fn snapshot(wire: &mut Wire) -> io::Result<Data> {
    let mut data = Data { lists: BTreeMap::new(), numbers: BTreeMap::new() };
    let keys = wire.cmd(&["KEYS", "*"])?;
    for key in keys.items().iter().map(Reply::text) {
        if key.starts_with("account:") || key.starts_with("counter:") {
            let number = wire.cmd(&["GET", &key])?.text().parse().map_err(io::Error::other)?;
            data.numbers.insert(key, number);
        } else {
            let list = wire.cmd(&["LRANGE", &key, "0", "-1"])?;
            data.lists.insert(key, list.items().iter().map(Reply::text).collect());
        }
    }
    Ok(data)
}

fn rejections(wire: &mut Wire) -> io::Result<u64> {
    let info = wire.cmd(&["INFO", "errorstats"])?.text();
    let count = info.lines().find_map(|line| line.strip_prefix("errorstat_BUSY:count="));
    Ok(count.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
}
