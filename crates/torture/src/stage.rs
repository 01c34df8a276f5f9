//! What all clients and all chaos of a round share.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testkit::Flavor;

use crate::{
    chance::Chance,
    history::{Act, Outcome, Pen, Recorder, Token, Transfer},
    wire::Wire,
};

/// The name of connections that chaos spares.
pub(crate) const SPARED: &str = "torture";
const LISTS: u64 = 4;
const COUNTERS: u64 = 2;
const ACCOUNTS: u64 = 4;
const CHANNELS: u64 = 2;
/// Between two tries to connect while a proxy is away.
const RETRY: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(20);

pub(crate) struct Stage {
    /// The address of the server itself.
    pub(crate) server: String,
    pub(crate) flavor: Flavor,
    /// In milliseconds.
    pub(crate) threshold: u64,
    /// Proxies with a long budget.
    pub(crate) patient: Vec<String>,
    /// A proxy with a short one.
    pub(crate) hasty: String,
    pub(crate) seed: u64,
    pub(crate) recorder: Arc<Recorder>,
    /// How often each kind of chaos came.
    pub(crate) chaos: Mutex<Vec<&'static str>>,
    pub(crate) stopping: AtomicBool,
}

impl Stage {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stopping.load(Relaxed)
    }

    pub(crate) fn chance(&self, stream: u64) -> Chance {
        Chance::new(self.seed, stream)
    }

    /// Sleeps for so many milliseconds, unless the round ends before.
    pub(crate) fn pause(&self, millis: u64) {
        let end = Instant::now() + Duration::from_millis(millis);
        while self.goes_on() && Instant::now() < end {
            thread::sleep(STEP.min(end.saturating_duration_since(Instant::now())));
        }
    }

    pub(crate) fn count(&self, chaos: &'static str) {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner).push(chaos);
    }

    /// A connection to the server itself which chaos spares.
    pub(crate) fn direct(&self) -> io::Result<Wire> {
        let mut wire = Wire::connect(&self.server)?;
        loop {
            if wire.cmd(&["CLIENT", "SETNAME", SPARED])? == testkit::Reply::Simple("OK".into()) {
                return Ok(wire);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How long a script runs, in milliseconds. The most dangerous ones end when the server has just begun to answer BUSY.
    pub(crate) fn slow(&self, chance: &mut Chance) -> u64 {
        let near = self.threshold.saturating_sub(3)..=self.threshold + 12;
        let (least, most) = if chance.one_in(2) { near.into_inner() } else { (30, 600) };
        chance.between(least, most)
    }

    /// A functions version of the script is only there if the server knows functions.
    pub(crate) fn has_functions(&self) -> bool {
        self.flavor != Flavor::Redis62
    }

    /// Starts a client that works on one connection after the other until the round ends.
    pub(crate) fn client(
        self: &Arc<Self>,
        name: &str,
        stream: u64,
        run: impl Fn(&Self, &mut Chance) -> io::Result<()> + Send + 'static,
    ) -> JoinHandle<()> {
        let stage = Arc::clone(self);
        spawn(name, move || {
            let mut chance = stage.chance(stream);
            while stage.goes_on() {
                // A broken connection is part of the play.
                if run(&stage, &mut chance).is_err() {
                    thread::sleep(RETRY);
                }
            }
        })
    }
}

pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.into()).spawn(run).expect("a thread can be started")
}

/// Something to be asked for on a connection with this line.
pub(crate) fn any_act(chance: &mut Chance, pen: &Pen) -> Act {
    match chance.below(20) {
        0..6 => Act::Push { list: format!("own:{}", pen.id()) },
        6..11 => Act::Push { list: any_list(chance) },
        11..14 => Act::Count { counter: format!("counter:{}", chance.below(COUNTERS)) },
        14..16 => Act::Transfer(any_transfer(chance)),
        16..18 => Act::Publish { channel: any_channel(chance) },
        _ => Act::Enqueue,
    }
}

/// One that may stand in a pipeline that is no transaction.
pub(crate) fn plain_act(chance: &mut Chance, pen: &Pen) -> Act {
    match any_act(chance, pen) {
        Act::Transfer(_) => Act::Push { list: any_list(chance) },
        act => act,
    }
}

pub(crate) fn any_list(chance: &mut Chance) -> String {
    format!("list:{}", chance.below(LISTS))
}

pub(crate) fn any_channel(chance: &mut Chance) -> String {
    format!("channel:{}", chance.below(CHANNELS))
}

pub(crate) fn any_transfer(chance: &mut Chance) -> Transfer {
    let from = chance.below(ACCOUNTS);
    let to = (from + chance.between(1, ACCOUNTS - 1)) % ACCOUNTS;
    let account = |number| format!("account:{number}");
    Transfer { from: account(from), to: account(to), amount: chance.between(1, 9).cast_signed() }
}

pub(crate) fn accounts() -> impl Iterator<Item = String> {
    (0..ACCOUNTS).map(|number| format!("account:{number}"))
}

/// Writes down that an operation was asked for, does it, and writes down what came of it; an error ends the connection.
pub(crate) fn record<E>(
    pen: &Pen,
    act: &Act,
    run: impl FnOnce(&Act, Token) -> Result<Outcome, E>,
) -> Result<(), E> {
    let token = pen.ask(act.clone());
    let outcome = run(act, token)?;
    pen.tell(token, outcome);
    Ok(())
}
