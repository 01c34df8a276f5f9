//! What happens to the clients: scripts, kills, pauses, broken connections, proxies that end.

use std::{
    io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use testkit::{Proxy, Reply, encode};

use crate::{
    chance::Chance,
    script,
    stage::{SPARED, Stage},
    wire::{PATIENCE, Wire},
};

/// How long a proxy may take to end after SIGTERM: longer than its `--drain`.
const DRAINED: Duration = Duration::from_secs(40);

pub(crate) fn start(stage: &Arc<Stage>, proxies: &Arc<Proxies>) -> Vec<JoinHandle<()>> {
    let mut all = vec![
        stage.client("chaos: scripts", 1, storm),
        stage.client("chaos: kills", 2, kills),
        stage.client("chaos: pauses", 3, pauses),
        stage.client("chaos: cut connections", 4, cuts),
    ];
    let proxies = Arc::clone(proxies);
    all.push(stage.client("chaos: restarts", 5, move |stage, chance| {
        stage.pause(chance.between(3_000, 9_000));
        if stage.goes_on() {
            proxies.restart(stage, chance);
        }
        Ok(())
    }));
    all
}

/// Slow scripts and functions, past the proxies.
fn storm(stage: &Stage, chance: &mut Chance) -> io::Result<()> {
    let mut wire = stage.direct()?;
    while stage.goes_on() {
        let function = stage.has_functions() && chance.one_in(3);
        let millis = if chance.one_in(15) { 2_000 } else { stage.slow(chance) };
        wire.send(&script::traceless(function, millis))?;
        wire.read(PATIENCE)?;
        stage.count(if function { "functions" } else { "scripts" });
        stage.pause(chance.between(10, 900));
    }
    Ok(())
}

/// SCRIPT KILL and FUNCTION KILL, direct and through a proxy.
fn kills(stage: &Stage, chance: &mut Chance) -> io::Result<()> {
    let mut direct = stage.direct()?;
    let mut proxied = Wire::connect(&stage.patient[0])?;
    while stage.goes_on() {
        stage.pause(chance.between(50, 1_500));
        let wire = if chance.one_in(2) { &mut direct } else { &mut proxied };
        let kind = if stage.has_functions() && chance.one_in(3) { "FUNCTION" } else { "SCRIPT" };
        if wire.cmd(&[kind, "KILL"])?.is_ok() {
            stage.count("kills");
        }
    }
    Ok(())
}

fn pauses(stage: &Stage, chance: &mut Chance) -> io::Result<()> {
    let mut wire = stage.direct()?;
    while stage.goes_on() {
        stage.pause(chance.between(500, 4_000));
        let mode = *chance.pick(&["WRITE", "ALL"]);
        // A busy server refuses it.
        while stage.goes_on() {
            if wire.cmd(&["CLIENT", "PAUSE", &chance.between(20, 400).to_string(), mode])?.is_ok() {
                stage.count(if mode == "ALL" { "pauses of all" } else { "pauses of writes" });
                break;
            }
            stage.pause(10);
        }
    }
    Ok(())
}

/// Closes connections of the proxies and of the crate at the server.
fn cuts(stage: &Stage, chance: &mut Chance) -> io::Result<()> {
    let mut wire = stage.direct()?;
    while stage.goes_on() {
        stage.pause(chance.between(200, 2_500));
        let Reply::Bulk(list) = wire.cmd(&["CLIENT", "LIST"])? else { continue };
        let list = String::from_utf8_lossy(&list).into_owned();
        let ids: Vec<&str> = others(&list).filter_map(|line| word(line, "id=")).collect();
        if ids.is_empty() {
            continue;
        }
        let id = *chance.pick(&ids);
        if wire.cmd(&["CLIENT", "KILL", "ID", id])? == Reply::Integer(1) {
            stage.count("connections cut");
        }
    }
    Ok(())
}

/// The lines of CLIENT LIST that are not ours.
pub(crate) fn others(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| word(line, "name=") != Some(SPARED))
}

fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name))
}

/// The proxies, each at an address that stays when it is started again.
pub(crate) struct Proxies {
    binary: PathBuf,
    server: String,
    seats: Vec<Seat>,
    /// What ended proxies have logged.
    logs: Mutex<Vec<String>>,
    leaving: Mutex<Vec<JoinHandle<()>>>,
}

struct Seat {
    address: String,
    args: Vec<String>,
    proxy: Mutex<Option<Proxy>>,
}

impl Proxies {
    /// One for each list of arguments.
    pub(crate) fn start(binary: &Path, server: &str, args: &[Vec<String>]) -> io::Result<Self> {
        let (binary, server) = (binary.to_owned(), server.to_owned());
        let mut all =
            Self { binary, server, seats: Vec::new(), logs: Mutex::default(), leaving: Mutex::default() };
        for args in args {
            let address = free_address()?;
            let args = [&["--listen".to_owned(), address.clone()], &args[..]].concat();
            let seat = Seat { address, args, proxy: Mutex::default() };
            // Started before the next looks for an address.
            all.fill(&seat);
            all.seats.push(seat);
        }
        Ok(all)
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.seats.iter().map(|seat| seat.address.clone()).collect()
    }

    fn fill(&self, seat: &Seat) {
        let args: Vec<_> = seat.args.iter().map(String::as_str).collect();
        *lock(&seat.proxy) = Some(Proxy::start(&self.binary, &self.server, &args));
    }

    /// Ends one of the proxies, in good order or at once, and starts it again.
    fn restart(self: &Arc<Self>, stage: &Stage, chance: &mut Chance) {
        let seat = chance.pick(&self.seats);
        let Some(mut proxy) = lock(&seat.proxy).take() else { return };
        if chance.one_in(2) {
            stage.count("proxies ended by SIGTERM");
            proxy.terminate();
            wait_until_closed(&seat.address);
            // The old one may still have commands while the new one runs.
            let all = Arc::clone(self);
            let leaving = thread::spawn(move || {
                let status = proxy.wait_exit(DRAINED);
                all.keep(&proxy);
                assert!(status.success(), "a proxy ended with {status} after SIGTERM");
            });
            lock(&self.leaving).push(leaving);
        } else {
            stage.count("proxies ended by SIGKILL");
            self.keep(&proxy);
            drop(proxy);
        }
        self.fill(seat);
    }

    fn keep(&self, proxy: &Proxy) {
        lock(&self.logs).push(proxy.log());
    }

    /// Waits until those that were asked to end have done so, and says what went wrong.
    pub(crate) fn settle(&self) -> Vec<String> {
        let leaving: Vec<_> = lock(&self.leaving).drain(..).collect();
        let mut wrong: Vec<_> = leaving
            .into_iter()
            .filter_map(|leaving| leaving.join().err())
            .map(|panic| crate::round::panic_text(&*panic))
            .collect();
        for seat in &self.seats {
            if let Some(proxy) = lock(&seat.proxy).as_mut()
                && let Some(status) = proxy.exit_status()
            {
                wrong.push(format!("a proxy ended by itself with {status}"));
            }
        }
        wrong.extend(self.log().lines().filter(|line| line.contains("panicked")).map(Into::into));
        wrong
    }

    /// All that all proxies have logged.
    pub(crate) fn log(&self) -> String {
        let mut logs = lock(&self.logs).clone();
        logs.extend(self.seats.iter().filter_map(|seat| lock(&seat.proxy).as_ref().map(Proxy::log)));
        logs.join("\n=== another proxy\n")
    }

    pub(crate) fn count(&self) -> usize {
        self.seats.len()
    }
}

/// A proxy that is asked to end closes its listeners first.
fn wait_until_closed(address: &str) {
    while TcpStream::connect(address).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// One that is free now, and that the system gives to nobody who connects: a client that connects to a proxy which is away
/// could be given the proxy's own port, and be connected to itself.
fn free_address() -> io::Result<String> {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    // Processes begin in different places, so that they do not find the same port free.
    let begin = std::process::id().wrapping_mul(97) as u16 % PORTS.len() as u16;
    let mut ports = PORTS.cycle().skip(begin.into()).take(PORTS.len());
    let free = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    free.ok_or(io::ErrorKind::AddrInUse)?.local_addr().map(|address| address.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts how often the server began to answer BUSY.
pub(crate) fn watch_episodes(
    stage: &Arc<Stage>,
    episodes: &Arc<std::sync::atomic::AtomicU64>,
) -> JoinHandle<()> {
    let episodes = Arc::clone(episodes);
    stage.client("watcher", 6, move |stage, _| {
        let mut wire = stage.direct()?;
        let mut was_busy = false;
        while stage.goes_on() {
            wire.send(&encode(&["PING"]))?;
            let is_busy = matches!(wire.read(PATIENCE)?, Reply::Error(text) if text.starts_with("BUSY "));
            if is_busy && !was_busy {
                episodes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            was_busy = is_busy;
            thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    })
}
