//! What the connections of a proxy share: the gate of their server, and whether the proxy is to end.
//!
//! On the fast path a connection reads two atomics and writes none. The lock is taken when the lease is renewed (some
//! hundred times a second for all connections together), and while connections wait.

#[cfg(feature = "admin")]
mod look;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

#[cfg(feature = "admin")]
pub(crate) use look::{Look, Traffic};
use unbusy_core::gate::{self, Answer, Ask, Ticket};
use unbusy_core::session::GivenUp;
use unbusy_core::{Cause, Event, Gate, Policy, Time};

use crate::history::{Culprit, History, WaitReason};
use crate::kill::Outcome;
use crate::ledger::Ledger;
use crate::notices;
use crate::running::{Call, Caller, Client, Running};
use crate::sync::{self, AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, Notify};
use crate::tally::{Arrivals, Tally};

/// How far the end of the proxy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    /// No new connections and commands; what is in flight or held may finish.
    Draining,
    /// Everything is closed.
    Stopped,
}

pub(crate) struct Shared {
    pub(crate) policy: Policy,
    /// Whether keys and arguments of scripts may be told.
    pub(crate) show_arguments: bool,
    free_until: AtomicU64,
    lease_width: AtomicU64,
    proof_wanted_after: AtomicU64,
    busy: AtomicBool,
    /// A kill is on its way, and nobody is let go.
    frozen: AtomicBool,
    /// `Policy::one_read`, which is taken to be so until the server has told.
    one_read: AtomicBool,
    /// How many connections the server has, if that is known.
    clients: AtomicU32,
    stage: AtomicU8,
    pub(crate) connections: AtomicU32,
    /// Scripts in flight, one counter per worker, so that workers do not write to the same place.
    scripts: Vec<ScriptCount>,
    /// Which those are.
    pub(crate) running: Running,
    /// One per worker.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) arrivals: Arrivals,
    /// Of what scripts cost, if anybody is to look.
    pub(crate) ledger: Ledger,
    inner: Mutex<Inner>,
    driver: Notify,
    /// Nobody waits any more who could find out that the server is open.
    deserted: Notify,
    /// The server is busy with a function that did not come this way.
    strange_function: Notify,
    watcher: OnceLock<Watcher>,
}

/// Hears of every event.
pub(crate) type Watcher = Box<dyn Fn(&Event) + Send + Sync>;

/// On a cache line of its own, so that workers do not disturb one another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ScriptCount(AtomicU32);

struct Inner {
    gate: Gate,
    history: History,
    waiters: HashMap<Ticket, Waiter>,
    /// Those that may pass the gate, but not while a kill is on its way.
    held_back: Vec<Waker>,
    /// When the driver will look again.
    deadline: Time,
    /// Since when the server is busy.
    episode: Option<Time>,
    /// An episode that is not told of yet, and when it began.
    untold: Option<(Cause, Time)>,
    /// When it last ceased to be.
    freed: Option<Time>,
}

impl Inner {
    /// A connection waits, perhaps again.
    fn wait(&mut self, ticket: Ticket, waker: &Waker, now: Time) {
        let waiter = self.waiters.entry(ticket).or_insert(Waiter { since: now, let_go: None, waker: None });
        waiter.let_go = None;
        waiter.waker = Some(waker.clone());
    }

    /// A connection may send one command.
    fn let_go(&mut self, ticket: Option<Ticket>, now: Time) {
        if let Some(waiter) = ticket.and_then(|ticket| self.waiters.get_mut(&ticket)) {
            waiter.let_go = Some(now);
        }
    }

    /// A connection does not wait any more, if it did.
    fn end_wait(&mut self, ticket: Option<Ticket>, now: Time) {
        let Some(waiter) = ticket.and_then(|ticket| self.waiters.remove(&ticket)) else { return };
        let since = waiter.since;
        let met = |end: Option<Time>| end.is_some_and(|end| end >= since);
        let reason = if self.episode.is_some() || met(self.freed) {
            WaitReason::Busy
        } else if self.gate.stalled(now).is_some() || met(self.history.spoke()) {
            WaitReason::Stall
        } else {
            WaitReason::Proof
        };
        self.history.waited(reason, waiter.let_go.unwrap_or(now) - since);
    }
}

/// A connection with a place at the gate.
struct Waiter {
    since: Time,
    /// When it was let through, if its command is on its way.
    let_go: Option<Time>,
    /// Until it is woken.
    waker: Option<Waker>,
}

/// A kill is on its way, until this is dropped.
pub(crate) struct Frozen<'a>(&'a Shared);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.with(sync::now(), |inner| inner.gate.thaw());
    }
}

/// How long it may take until all scripts are rejected that lay unread behind the one that runs.
const SUSPICION: Duration = Duration::from_millis(20);

impl Shared {
    pub(crate) fn new(policy: Policy, threshold: Option<Duration>, workers: usize) -> Self {
        Self {
            policy,
            show_arguments: false,
            free_until: AtomicU64::new(0),
            lease_width: AtomicU64::new(0),
            proof_wanted_after: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            one_read: AtomicBool::new(true),
            clients: AtomicU32::new(0),
            stage: AtomicU8::new(Stage::Running as u8),
            connections: AtomicU32::new(0),
            scripts: (0..workers).map(|_| ScriptCount::default()).collect(),
            running: Running::default(),
            tallies: (0..workers).map(|_| Tally::default()).collect(),
            arrivals: Arrivals::default(),
            ledger: Ledger::new(0),
            inner: Mutex::new(Inner {
                gate: Gate::new(threshold),
                history: History::default(),
                waiters: HashMap::new(),
                held_back: Vec::new(),
                deadline: Time::NEVER,
                episode: None,
                untold: None,
                freed: None,
            }),
            driver: Notify::new(),
            deserted: Notify::new(),
            strange_function: Notify::new(),
            watcher: OnceLock::new(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Stopped,
        }
    }

    /// Stages only ever move forward.
    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Relaxed);
    }

    /// Whether a connection may send without asking. Without strict order only BUSY stands in its way.
    pub(crate) fn is_free(&self, now: Time) -> bool {
        now.as_nanos() < self.free_until.load(Relaxed) || (!self.policy.strict && !self.busy.load(Relaxed))
    }

    pub(crate) fn set_clients(&self, clients: u32) {
        self.clients.store(clients, Relaxed);
    }

    pub(crate) fn one_read(&self) -> bool {
        self.one_read.load(Relaxed)
    }

    /// Whether the server may have I/O threads that read piece by piece.
    pub(crate) fn set_threaded_reads(&self, threaded: bool) {
        self.one_read.store(threaded || self.policy.one_read, Relaxed);
    }

    pub(crate) fn lease_width(&self) -> Duration {
        Duration::from_nanos(self.lease_width.load(Relaxed))
    }

    pub(crate) fn wants_proof(&self, sent: Time) -> bool {
        sent.as_nanos() >= self.proof_wanted_after.load(Relaxed)
    }

    pub(crate) fn add_scripts(&self, worker: usize, count: u32) {
        self.scripts[worker].0.fetch_add(count, Relaxed);
        self.tallies[worker].scripts.add(count.into());
    }

    pub(crate) fn remove_scripts(&self, worker: usize, count: u32) {
        self.scripts[worker].0.fetch_sub(count, SeqCst);
    }

    /// Asks the gate; while the answer is `Wait` the waker is kept.
    pub(crate) fn ask(&self, ticket: Option<Ticket>, ask: Ask, now: Time, waker: &Waker) -> Answer {
        self.with(now, |inner| {
            let answer = inner.gate.ask(ticket, ask, now);
            match answer {
                Answer::Free => {}
                Answer::One(ticket) => inner.let_go(ticket, now),
                Answer::Wait(ticket) => inner.wait(ticket, waker, now),
            }
            answer
        })
    }

    pub(crate) fn answered(&self, ticket: Option<Ticket>, outcome: gate::Outcome, sent: Time, now: Time) {
        self.with(now, |inner| {
            inner.gate.answered(ticket, outcome, sent, now);
            inner.end_wait(ticket, now);
        });
    }

    pub(crate) fn rejected(
        &self,
        ticket: Option<Ticket>,
        ask: Option<Ask>,
        (cause, sent): (Cause, Time),
        commands: u64,
        now: Time,
        waker: &Waker,
    ) -> Option<Ticket> {
        self.with(now, |inner| {
            let place = inner.gate.rejected(ticket, ask, cause, sent, now);
            inner.gate.also_rejected(commands.saturating_sub(1));
            inner.history.rejected(commands);
            match place {
                Some(place) => inner.wait(place, waker, now),
                None => inner.end_wait(ticket, now),
            }
            place
        })
    }

    /// Settles whether a script was rejected by the server, as far as the gate knows.
    pub(crate) fn was_rejected(&self, sent: Time, now: Time) -> Option<bool> {
        let guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.gate.busy().is_some() {
            return Some(true);
        }
        guard.gate.cannot_be_busy(sent, now).then_some(false)
    }

    pub(crate) fn leave(&self, ticket: Ticket, now: Time) {
        self.with(now, |inner| {
            inner.gate.leave(ticket, now);
            inner.end_wait(Some(ticket), now);
        });
    }

    pub(crate) fn gave_up(&self, commands: u64, first: Option<GivenUp>, client: Client, now: Time) {
        self.with(now, |inner| {
            inner.gate.gave_up(commands);
            inner.history.gave_up(commands, first, client, now);
        });
    }

    /// A script that is not counted any more was answered, which matters while others wait for the end of one.
    pub(crate) fn script_answered(&self, now: Time) {
        if self.busy.load(SeqCst) {
            self.with(now, |inner| inner.gate.script_answered(now));
        }
    }

    pub(crate) fn set_threshold(&self, threshold: Option<Duration>) {
        self.with(sync::now(), |inner| inner.gate.set_threshold(threshold));
    }

    /// The shell's own question, sent at `sent`, was executed or rejected.
    pub(crate) fn observed(&self, open: bool, sent: Time) {
        let now = sync::now();
        self.with(now, |inner| inner.gate.observed(open, sent, now));
    }

    /// Waits until the server is busy and nobody waits for its end.
    pub(crate) async fn deserted(&self) {
        self.deserted.notified().await;
    }

    /// Waits until the server is busy with a function that did not come this way.
    pub(crate) async fn strange_function(&self) {
        self.strange_function.notified().await;
    }

    /// What keeps the server busy is this function of somebody else's.
    pub(crate) fn blame_stranger(&self, function: &str) {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.gate.busy() == Some(Cause::Function) && guard.history.current().1.is_none() {
            let client = "not through this proxy".to_owned();
            let script = format!("function {function:?}");
            guard.history.blame(Culprit { script, client, ..Culprit::default() });
        }
    }

    /// A question that was sent at `sent` was rejected. Nobody else may have met the busy server.
    pub(crate) fn found_busy(&self, cause: Cause, sent: Time) {
        let now = sync::now();
        self.with(now, |inner| {
            inner.gate.rejected(None, None, cause, sent, now);
            inner.history.rejected(1);
        });
    }

    pub(crate) fn threshold(&self) -> Option<Duration> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).gate.threshold()
    }

    /// Lets nobody go until what comes back is dropped. Only while the server is busy and this call is the only script of the
    /// proxy that can run now.
    pub(crate) fn freeze(&self, caller: Caller, sent: Time) -> Option<Frozen<'_>> {
        // First the gate, so that none is let go between the two.
        let frozen = self.with(sync::now(), |inner| inner.gate.freeze(sent)).then(|| Frozen(self));
        frozen.filter(|_| self.running.is_only(caller, sent))
    }

    /// Whether a kill is on its way; if so, the waker is called when it is answered.
    pub(crate) fn waits_for_thaw(&self, waker: &Waker) -> bool {
        if !self.frozen.load(Relaxed) {
            return false;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let frozen = inner.gate.is_frozen();
        if frozen {
            inner.held_back.push(waker.clone());
        }
        frozen
    }

    /// A kill came to this.
    pub(crate) fn killed(&self, outcome: Outcome) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).history.killed(outcome);
    }

    /// The proxy ends.
    pub(crate) fn close(&self) {
        let now = sync::now();
        self.with(now, |inner| inner.gate.close(now));
    }

    /// Since when the server is known to be busy.
    pub(crate) fn episode(&self) -> Option<Time> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).episode
    }

    /// For how long the server has not been busy, if it ever was.
    pub(crate) fn calm(&self, now: Time) -> Option<Duration> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let freed = if inner.episode.is_some() { Some(now) } else { inner.freed };
        freed.map(|freed| now - freed)
    }

    /// Everything is told to the first.
    pub(crate) fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    /// An event of a connection's own.
    pub(crate) fn happened(&self, event: &Event, now: Time) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).history.note(event, now);
        self.tell(event);
    }

    /// Logs an event, and tells the watcher.
    fn tell(&self, event: &Event) {
        notices::log(event);
        if let Some(watcher) = self.watcher.get() {
            watcher(event);
        }
    }

    fn blame(&self, call: &Call) {
        // Outside the lock: the hash of a long text takes its time.
        let culprit = call.culprit();
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).history.blame(culprit);
    }

    /// Lets the gate move on at its deadlines.
    pub(crate) async fn drive(&self) {
        loop {
            let deadline = self.inner.lock().unwrap_or_else(PoisonError::into_inner).deadline;
            let due = async {
                if deadline == Time::NEVER {
                    std::future::pending::<()>().await;
                }
                sync::sleep_until(deadline).await;
            };
            tokio::select! {
                // Chance would spoil the tests' repetitions.
                biased;
                () = due => self.with(sync::now(), |inner| inner.deadline = Time::NEVER),
                () = self.driver.notified() => {}
            }
        }
    }

    /// When an episode can be told of that began: as soon as only one script can be the one, or soon.
    fn look_for_culprit(&self, inner: &mut Inner, events: &[Event], now: Time) -> Option<(Cause, Vec<Call>)> {
        let began = events.iter().find_map(|event| match event {
            Event::EpisodeBegan { cause } => Some((*cause, now)),
            _ => None,
        });
        inner.untold = began.or(inner.untold);
        let (cause, since) = inner.untold?;
        let suspects = self.running.suspects(cause, inner.gate.threshold().unwrap_or_default(), since);
        let is_told = suspects.len() <= 1 || now - since >= SUSPICION || inner.gate.busy().is_none();
        is_told.then(|| {
            inner.untold = None;
            (cause, suspects)
        })
    }

    fn with<R>(&self, now: Time, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let was_deserted = inner.gate.is_deserted();
        let clients = self.clients.load(Relaxed);
        if clients > 0 {
            inner.gate.set_clients(clients, self.connections.load(Relaxed));
        }
        let result = change(inner);
        // A script that ends meanwhile is not counted here, or finds the server busy and tells the gate.
        self.busy.store(inner.gate.busy().is_some() || inner.gate.is_frozen(), SeqCst);
        let script_in_flight = self.scripts.iter().any(|count| count.0.load(SeqCst) > 0);
        let deadline = inner.gate.tick(script_in_flight, now);
        let tries = if inner.gate.busy().is_some() { inner.gate.woken_count() } else { 0 };
        inner.history.tried(tries);
        let mut woken: Vec<Waker> =
            inner.gate.woken().filter_map(|ticket| inner.waiters.get_mut(&ticket)?.waker.take()).collect();
        self.frozen.store(inner.gate.is_frozen(), Relaxed);
        if !inner.gate.is_frozen() {
            woken.append(&mut inner.held_back);
        }
        let events: Vec<Event> = inner.gate.events().collect();
        for event in &events {
            inner.history.note(event, now);
        }
        let began = self.look_for_culprit(inner, &events, now);
        if inner.gate.busy().is_none() {
            if inner.episode.take().is_some() {
                inner.freed = Some(now);
            }
        } else if inner.episode.is_none() {
            inner.episode = Some(now);
        }
        self.free_until.store(inner.gate.free_until().as_nanos(), Relaxed);
        let width = u64::try_from(inner.gate.lease_width().as_nanos()).unwrap_or(u64::MAX);
        self.lease_width.store(width, Relaxed);
        self.proof_wanted_after.store(inner.gate.proof_wanted_after().as_nanos(), Relaxed);
        // Nobody goes freely before the kill is answered.
        self.busy.store(inner.episode.is_some() || inner.gate.is_frozen(), Relaxed);
        let deserted = inner.gate.is_deserted() && !was_deserted;
        let sooner = deadline < inner.deadline;
        if sooner {
            inner.deadline = deadline;
        }
        drop(guard);
        if sooner {
            self.driver.notify_one();
        }
        if deserted {
            self.deserted.notify_one();
        }
        woken.into_iter().for_each(Waker::wake);
        if let Some((cause, suspects)) = began {
            notices::episode_began(cause, suspects.first(), now);
            match suspects.first() {
                Some(call) => self.blame(call),
                None if cause == Cause::Function => self.strange_function.notify_one(),
                None => {}
            }
        }
        for event in &events {
            self.tell(event);
        }
        result
    }
}
