//! The gate of a server, shared by all connections of the process to it, blocking and asynchronous alike.
//!
//! On the fast path a connection reads two atomics. The lock is taken when the lease is renewed, some hundred times a
//! second for all connections together, and while calls wait. A thread moves the gate on at its deadlines; it is started
//! when somebody waits and ends a while after the last.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, LazyLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::{Cause, DEFAULT_THRESHOLD, Survey, Time};

use crate::policy::{Listener, Policy};
use crate::running::{Running, Suspect};
pub(crate) use crate::sync::now;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, thread};
use crate::{Event, notices};

/// What is assumed until the server has told its threshold: safe for most servers, but pipelines are slower.
const THRESHOLD_UNKNOWN: Duration = Duration::from_millis(20);
/// How often the server is asked of itself; its settings may be changed at any time.
const SURVEY_PERIOD: Duration = Duration::from_secs(30);
/// After the first time: processes that start together do not see all connections of one another at once.
const SURVEY_SOON: Duration = Duration::from_secs(3);
/// The thread ends when there was nothing to do for so long.
const DRIVER_IDLE: Duration = Duration::from_secs(10);

/// How long it may take until this process has heard of all scripts that lay unread behind the one that runs: they are rejected at
/// once, but whoever sent them may be late to look.
const SUSPICION: Duration = Duration::from_millis(50);

/// The gates of the process by the address of their server. One that nobody uses any more is forgotten.
static GATES: LazyLock<Mutex<BTreeMap<String, Weak<Gate>>>> = LazyLock::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) struct Gate {
    address: String,
    free_until: AtomicU64,
    lease_width: AtomicU64,
    /// Zero, if it is not known.
    threshold: AtomicU64,
    proof_wanted_after: AtomicU64,
    busy: AtomicBool,
    /// `unbusy_core::Policy::one_read`, which is taken to be so until the server has told.
    one_read: AtomicBool,
    /// How many connections the server has, if that is known, and how many are ours.
    clients: AtomicU32,
    lines: AtomicU32,
    /// When the server is to be asked of itself again.
    survey_due: AtomicU64,
    /// A policy states the threshold.
    threshold_is_given: AtomicBool,
    scripts_in_flight: AtomicU32,
    /// Which those are.
    pub(crate) running: Running,
    inner: Mutex<Inner>,
    /// Tells the driver of a sooner deadline.
    sooner: Condvar,
}

struct Inner {
    gate: unbusy_core::Gate,
    wakers: HashMap<Ticket, (Waker, Time)>,
    /// When the budgets of those that wait are over.
    budgets: BTreeSet<(Time, Ticket)>,
    deadline: Time,
    driven: bool,
    episode: Option<Time>,
    /// An episode that is not told of yet, and when it began.
    untold: Option<(Cause, Time)>,
    listeners: Vec<Listener>,
}

impl Gate {
    /// The gate of the server at this address.
    pub(crate) fn of(address: &str, policy: &Policy) -> Arc<Self> {
        let mut gates = lock(&GATES);
        let gate = gates.get(address).and_then(Weak::upgrade).unwrap_or_else(|| {
            gates.retain(|_, gate| gate.strong_count() > 0);
            let gate = Arc::new(Self::new(address));
            gates.insert(address.to_owned(), Arc::downgrade(&gate));
            gate
        });
        drop(gates);
        gate.adopt(policy);
        gate
    }

    /// Where its server is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            free_until: AtomicU64::new(0),
            lease_width: AtomicU64::new(0),
            threshold: AtomicU64::new(0),
            proof_wanted_after: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            one_read: AtomicBool::new(true),
            clients: AtomicU32::new(0),
            lines: AtomicU32::new(0),
            survey_due: AtomicU64::new(0),
            threshold_is_given: AtomicBool::new(false),
            scripts_in_flight: AtomicU32::new(0),
            running: Running::new(),
            inner: Mutex::new(Inner {
                gate: unbusy_core::Gate::new(Some(THRESHOLD_UNKNOWN)),
                wakers: HashMap::new(),
                budgets: BTreeSet::new(),
                deadline: Time::NEVER,
                driven: false,
                episode: None,
                untold: None,
                listeners: Vec::new(),
            }),
            sooner: Condvar::new(),
        }
    }

    /// What a policy says of the server counts for all its connections, and the last one counts.
    fn adopt(self: &Arc<Self>, policy: &Policy) {
        let mut inner = lock(&self.inner);
        if let Some(pace) = policy.pace {
            inner.gate.set_pace(pace);
        }
        if let Some(listener) = &policy.listener
            && !inner.listeners.iter().any(|other| Arc::ptr_eq(other, listener))
        {
            inner.listeners.push(Arc::clone(listener));
        }
        drop(inner);
        if let Some(threshold) = policy.threshold {
            self.threshold_is_given.store(true, Relaxed);
            self.set_threshold(threshold);
        }
    }

    /// Whether a lease runs, so that pipelines may be sent without asking.
    pub(crate) fn is_free(&self, now: Time) -> bool {
        now.as_nanos() < self.free_until.load(Relaxed)
    }

    /// Until when a lease runs, or ran.
    pub(crate) fn free_until(&self) -> Time {
        Time::from_nanos(self.free_until.load(Relaxed))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Relaxed)
    }

    /// After how long a script makes the server busy; zero, if that is not known.
    pub(crate) fn threshold(&self) -> Duration {
        Duration::from_nanos(self.threshold.load(Relaxed))
    }

    /// How long a lease runs from the sending of its proof.
    pub(crate) fn lease_width(&self) -> Duration {
        Duration::from_nanos(self.lease_width.load(Relaxed))
    }

    pub(crate) fn wants_proof(&self, sent: Time) -> bool {
        sent.as_nanos() >= self.proof_wanted_after.load(Relaxed)
    }

    /// Whether what is in flight must fit into one read of the server.
    pub(crate) fn one_read(&self) -> bool {
        self.one_read.load(Relaxed)
    }

    pub(crate) fn line_is_made(&self) {
        self.lines.fetch_add(1, Relaxed);
    }

    pub(crate) fn line_is_gone(&self) {
        self.lines.fetch_sub(1, Relaxed);
    }

    /// What somebody is to ask the server now; for each period it is said to one only.
    pub(crate) fn survey(&self) -> Option<Survey> {
        let (now, due) = (now(), self.survey_due.load(Relaxed));
        let next = (now + if due == 0 { SURVEY_SOON } else { SURVEY_PERIOD }).as_nanos();
        let mine =
            now.as_nanos() >= due && self.survey_due.compare_exchange(due, next, Relaxed, Relaxed).is_ok();
        mine.then(|| Survey::new(!self.threshold_is_given.load(Relaxed)))
    }

    /// What the server said.
    pub(crate) fn learn(self: &Arc<Self>, survey: &Survey) {
        self.one_read.store(survey.one_read(), Relaxed);
        self.clients.store(survey.clients().unwrap_or_default(), Relaxed);
        match (self.threshold_is_given.load(Relaxed), survey.is_refused()) {
            (false, _) => self.set_threshold(survey.threshold().unwrap_or(DEFAULT_THRESHOLD)),
            // Nothing is gained by being refused again.
            (true, true) => self.survey_due.store(u64::MAX, Relaxed),
            (true, false) => {}
        }
    }

    /// Zero: the server never answers BUSY.
    fn set_threshold(self: &Arc<Self>, threshold: Duration) {
        self.with(|inner, _| inner.gate.set_threshold((!threshold.is_zero()).then_some(threshold)));
    }

    /// Asks the gate. While the answer is `Wait` the waker is kept, and called when that may change, or at `until`.
    pub(crate) fn ask(
        self: &Arc<Self>,
        ticket: Option<Ticket>,
        ask: Ask,
        until: impl FnOnce(Option<Time>, Time) -> Time,
        waker: &Waker,
    ) -> Answer {
        self.with(|inner, now| {
            let answer = inner.gate.ask(ticket, ask, now);
            if let Answer::Wait(ticket) = answer {
                inner.keep(ticket, waker, until(inner.episode, now));
            }
            answer
        })
    }

    pub(crate) fn answered(self: &Arc<Self>, ticket: Option<Ticket>, outcome: Outcome, sent: Time) {
        self.with(|inner, now| inner.gate.answered(ticket, outcome, sent, now));
    }

    pub(crate) fn rejected(
        self: &Arc<Self>,
        ticket: Option<Ticket>,
        ask: Option<Ask>,
        cause: Cause,
        sent: Time,
        commands: u64,
    ) -> Option<Ticket> {
        self.with(|inner, now| {
            let ticket = inner.gate.rejected(ticket, ask, cause, sent, now);
            inner.gate.also_rejected(commands.saturating_sub(1));
            ticket
        })
    }

    /// Whether a script that looks rejected was, as far as the gate knows.
    pub(crate) fn was_rejected(&self, sent: Time) -> Option<bool> {
        let inner = lock(&self.inner);
        if inner.gate.busy().is_some() {
            return Some(true);
        }
        inner.gate.cannot_be_busy(sent, now()).then_some(false)
    }

    pub(crate) fn leave(self: &Arc<Self>, ticket: Ticket) {
        self.with(|inner, now| {
            inner.forget(ticket);
            inner.gate.leave(ticket, now);
        });
    }

    pub(crate) fn gave_up(self: &Arc<Self>) {
        self.with(|inner, _| inner.gate.gave_up(1));
    }

    /// When the command of the latest proof was sent.
    pub(crate) fn proved(&self) -> Time {
        lock(&self.inner).gate.proved()
    }

    /// A script goes to the server.
    pub(crate) fn script_sent(&self) {
        self.scripts_in_flight.fetch_add(1, Relaxed);
    }

    /// So did one that is answered now, or that nobody waits for any more.
    pub(crate) fn script_answered(self: &Arc<Self>) {
        self.scripts_in_flight.fetch_sub(1, SeqCst);
        if self.busy.load(SeqCst) {
            self.with(|inner, now| inner.gate.script_answered(now));
        }
    }

    /// Tells of something that only a connection can see.
    pub(crate) fn report(&self, event: &Event) {
        let listeners = lock(&self.inner).listeners.clone();
        self.tell(&listeners, event);
    }

    fn tell(&self, listeners: &[Listener], event: &Event) {
        notices::log(&self.address, event);
        for listener in listeners {
            listener(&self.address, event);
        }
    }

    fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut Inner, Time) -> R) -> R {
        let now = now();
        let mut inner = lock(&self.inner);
        let clients = self.clients.load(Relaxed);
        if clients > 0 {
            inner.gate.set_clients(clients, self.lines.load(Relaxed));
        }
        let result = change(&mut inner, now);
        // A script that ends meanwhile is not counted here, or finds the server busy and tells the gate.
        self.busy.store(inner.gate.busy().is_some(), SeqCst);
        let script_in_flight = self.scripts_in_flight.load(SeqCst) > 0;
        let deadline = inner.gate.tick(script_in_flight, now);
        let mut woken = inner.expired(now);
        let tickets: Vec<_> = inner.gate.woken().collect();
        woken.extend(tickets.into_iter().filter_map(|ticket| inner.forget(ticket)));
        let events: Vec<_> = inner.gate.events().collect();
        self.threshold.store(nanos(inner.gate.threshold().unwrap_or_default()), Relaxed);
        let began = self.look_for_culprit(&mut inner, &events, now);
        let listeners = if events.is_empty() { Vec::new() } else { inner.listeners.clone() };
        inner.episode = inner.gate.busy().map(|_| inner.episode.unwrap_or(now));
        self.free_until.store(inner.gate.free_until().as_nanos(), Relaxed);
        self.lease_width.store(nanos(inner.gate.lease_width()), Relaxed);
        self.proof_wanted_after.store(inner.gate.proof_wanted_after().as_nanos(), Relaxed);
        self.busy.store(inner.episode.is_some(), Relaxed);
        inner.deadline = deadline;
        self.see_to_driver(&mut inner);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        if let Some((cause, suspect)) = began {
            notices::episode_began(&self.address, cause, suspect.as_ref(), now);
        }
        for event in &events {
            self.tell(&listeners, event);
        }
        result
    }

    /// When an episode can be told of that began: as soon as only one script can be the one, or soon.
    fn look_for_culprit(
        &self,
        inner: &mut Inner,
        events: &[Event],
        now: Time,
    ) -> Option<(Cause, Option<Suspect>)> {
        let began = events.iter().find_map(|event| match event {
            Event::EpisodeBegan { cause } => Some((*cause, now)),
            _ => None,
        });
        inner.untold = began.or(inner.untold);
        let (cause, since) = inner.untold?;
        let suspect = self.running.suspect(cause, self.threshold(), since, inner.gate.proved());
        let is_clear = suspect.as_ref().is_none_or(|suspect| suspect.is_only);
        let is_told = is_clear || now - since >= SUSPICION || inner.gate.busy().is_none();
        is_told.then(|| {
            inner.untold = None;
            (cause, suspect)
        })
    }

    fn see_to_driver(self: &Arc<Self>, inner: &mut Inner) {
        if inner.driven {
            self.sooner.notify_one();
        } else if inner.due() != Time::NEVER {
            let gate = Arc::clone(self);
            let thread = thread::Builder::new().name("unbusy-gate".into()).spawn(move || gate.drive());
            inner.driven = thread.is_ok();
            if let Err(error) = thread {
                tracing::error!(%error, "no thread can be started to wake those who wait for {}", self.address);
            }
        }
    }

    fn drive(self: &Arc<Self>) {
        let mut inner = lock(&self.inner);
        loop {
            let (now, due) = (now(), inner.due());
            if due <= now {
                drop(inner);
                self.with(|_, _| ());
                inner = lock(&self.inner);
                continue;
            }
            let wait = if due == Time::NEVER { DRIVER_IDLE } else { due - now };
            let waited = self.sooner.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner);
            inner = waited.0;
            if waited.1.timed_out() && due == Time::NEVER && inner.due() == Time::NEVER {
                inner.driven = false;
                return;
            }
        }
    }
}

impl Inner {
    fn keep(&mut self, ticket: Ticket, waker: &Waker, until: Time) {
        self.forget(ticket);
        self.wakers.insert(ticket, (waker.clone(), until));
        self.budgets.insert((until, ticket));
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Waker> {
        let (waker, until) = self.wakers.remove(&ticket)?;
        self.budgets.remove(&(until, ticket));
        Some(waker)
    }

    /// Those whose budget is over.
    fn expired(&mut self, now: Time) -> Vec<Waker> {
        let mut expired = Vec::new();
        while let Some((until, ticket)) = self.budgets.first().copied()
            && until <= now
        {
            expired.extend(self.forget(ticket));
        }
        expired
    }

    fn due(&self) -> Time {
        let budget = self.budgets.first().map_or(Time::NEVER, |(until, _)| *until);
        let line = self.untold.map_or(Time::NEVER, |(_, since)| since + SUSPICION);
        self.deadline.min(budget).min(line)
    }
}
