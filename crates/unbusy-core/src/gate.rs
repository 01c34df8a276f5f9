//! The gate: one per server, where connections wait while it is not known to be open.
//!
//! ```text
//!   Open ──lease over──▶ Unproven ──a scout is overdue──▶ Stalled
//!     ▲                     │                               │
//!     └──────── proof ──────┴─────────────── proof ─────────┤
//!     ▲                                                     │
//!     └──── the leader's retry is accepted ──── Busy ◀──────┴── reply BUSY (from any state)
//! ```
//!
//! `Unproven` is `Open` without a lease. All waiters stand in one queue, ordered by ticket. The gate neither sends nor
//! wakes: it says who may send one command ([`Gate::woken`]) and is told how that went.

mod episode;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lease::Lease;
use crate::{Cause, EpisodeReport, Event, Time};
use episode::Episode;

/// A scout is not overdue before this.
const OVERDUE_MIN: Duration = Duration::from_millis(2);
/// And it is overdue after this: an answer that met a stall must not pass for a very long line.
const OVERDUE_MAX: Duration = Duration::from_secs(1);
/// On a long line others wait this long for the first scout's answer before they send one of their own: nobody pays
/// a round trip there. On a short one they wait until the scout is overdue, so that a stall costs few ghosts.
const SCOUT_WAIT: Duration = Duration::from_millis(2);
/// A line is long when its scouts are overdue no sooner than this.
const LONG_LINE: Duration = Duration::from_millis(20);
/// How long a scout or leader may stay unanswered before one more goes on another connection.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// The time between two further scouts doubles up to this.
const SCOUT_GAP_MAX: Duration = Duration::from_secs(5);
/// While an episode is young, tries are no further apart than this, so that few wait for long after a usual script; and
/// while it is new, than that, if it is known how many others there may be that try.
const TRY_MAX_YOUNG: Duration = Duration::from_millis(25);
const TRY_MAX_NEW: Duration = Duration::from_millis(6);
const NEW: Duration = Duration::from_secs(3);
/// All gates of a server together try no more often than this, of which a rejection takes the server about a tenth.
const TRY_SHARE: Duration = Duration::from_micros(200);
/// Between two tries while a script that came through this process is unanswered: its reply will tell.
const TRY_BESIDE_SCRIPT: Duration = Duration::from_secs(1);
/// A try that met a stall took long although the line is short; the next one is no later than this.
const TRY_MAX: Duration = Duration::from_secs(1);
/// How far down the queue a better suited waiter is looked for.
const LOOK_AHEAD: usize = 64;

/// A place in the queue. Older tickets go first; a waiter that is rejected again keeps its ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// How often the leader tries while the server is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time between the first tries; it grows with the age of the episode.
    pub first: Duration,
    /// The time between tries is no longer than this.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_millis(1), longest: Duration::from_millis(100) }
    }
}

/// What a connection would send if it might.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    /// Its reply speaks for the server: rejected while busy, answered at once while open, small.
    pub scout: bool,
    /// Let go by its ticket, it asks the server with a PING first, which speaks for the server where the command cannot.
    pub pings: bool,
    /// What speaks for the server only reads.
    pub read: bool,
    /// Commands waiting on this connection, for the notice at the end.
    pub commands: u32,
}

impl Ask {
    /// Whether the server's state will be known once it has been let go.
    const fn speaks(self) -> bool {
        self.scout || self.pings
    }
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A lease runs: send as much as the window allows.
    Free,
    /// Send one command, and report its reply under this ticket if there is one.
    One(Option<Ticket>),
    /// Wait until the ticket is among [`Gate::woken`].
    Wait(Ticket),
}

/// How a reply bears on the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Executed, and a busy server would have rejected it.
    Proof,
    /// Answered, but that says nothing about the server.
    Unclear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Scout,
    Leader,
    /// A leader whose command may be answered late when it is accepted, such as BLPOP, and that cannot ask with a PING.
    Deaf,
    /// Sends one command that cannot speak for the server.
    Alone,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    role: Role,
    since: Time,
    /// What waited with it.
    commands: u32,
}

#[derive(Debug)]
enum Phase {
    Open,
    Stalled { since: Time, next_scout: Time, gap: Duration },
    Busy(Episode),
}

/// The gate of one server. See the module's documentation.
#[derive(Debug)]
pub struct Gate {
    pace: Pace,
    gates: Option<u32>,
    phase: Phase,
    lease: Lease,
    waiting: BTreeMap<Ticket, Ask>,
    /// Those that may send or have sent one command and have not been answered.
    out: BTreeMap<Ticket, Out>,
    next_ticket: u64,
    /// Nobody is let go.
    frozen: bool,
    woken: Vec<Ticket>,
    events: Vec<Event>,
}

impl Gate {
    /// A gate that knows nothing yet of its server but the threshold; `None`: the server never answers BUSY.
    pub fn new(threshold: Option<Duration>) -> Self {
        Self {
            pace: Pace::default(),
            gates: None,
            phase: Phase::Open,
            lease: Lease::new(threshold),
            waiting: BTreeMap::new(),
            out: BTreeMap::new(),
            next_ticket: 0,
            frozen: false,
            woken: Vec::new(),
            events: Vec::new(),
        }
    }

    /// How often the leader tries from now on.
    pub const fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// May a connection send? `ticket` is the one it already waits under.
    pub fn ask(&mut self, ticket: Option<Ticket>, ask: Ask, now: Time) -> Answer {
        if let Some(ticket) = ticket {
            return self.ask_again(ticket, ask);
        }
        if self.frozen || !matches!(self.phase, Phase::Open) || !self.waiting.is_empty() {
            return Answer::Wait(self.enqueue(ask));
        }
        if now < self.lease.until() {
            return Answer::Free;
        }
        if !ask.scout {
            return Answer::One(None);
        }
        match self.oldest_scout() {
            None => Answer::One(Some(self.send_out(Role::Scout, ask, now))),
            Some(since) if now < since + self.scout_wait() => Answer::Wait(self.enqueue(ask)),
            Some(since) if now < since + self.overdue() => {
                Answer::One(Some(self.send_out(Role::Scout, ask, now)))
            }
            Some(_) => {
                self.stall(now);
                Answer::Wait(self.enqueue(ask))
            }
        }
    }

    fn ask_again(&mut self, ticket: Ticket, ask: Ask) -> Answer {
        if self.out.contains_key(&ticket) {
            return Answer::One(Some(ticket));
        }
        self.waiting.insert(ticket, ask);
        Answer::Wait(ticket)
    }

    /// A command was answered, and not rejected. `sent` is when it was sent; `ticket` the one it was sent under.
    pub fn answered(&mut self, ticket: Option<Ticket>, outcome: Outcome, sent: Time, now: Time) {
        let role = ticket.and_then(|ticket| self.take_out(ticket)).map(|out| out.role);
        // Scouts sent earlier are overtaken: what keeps them from being answered is not the server.
        self.out.retain(|_, out| out.since > sent || out.role != Role::Scout);
        let led = matches!(role, Some(Role::Leader | Role::Deaf));
        match (&self.phase, outcome) {
            // Open => Open: a proof renews the lease.
            (Phase::Open, Outcome::Proof) => {
                self.lease.measure(now - sent);
                self.prove(sent, ticket.is_some(), now);
            }
            // Stalled => Open: whoever answers is not silent. An old reply gives no lease, so only scouts follow.
            (Phase::Stalled { since, .. }, outcome) => {
                self.events.push(Event::StallEnded { lasted: now - *since });
                self.phase = Phase::Open;
                if outcome == Outcome::Proof {
                    self.prove(sent, ticket.is_some(), now);
                }
            }
            // Busy => Open: only the leader's try tells that BUSY is over; other replies may be from before.
            (Phase::Busy(_), Outcome::Proof) if led => {
                self.end_episode(now);
                self.prove(sent, true, now);
            }
            (Phase::Busy(_), _) if led => self.plan_try(now - sent, now),
            (Phase::Open, Outcome::Unclear) | (Phase::Busy(_), _) => {}
        }
    }

    /// A command was rejected as BUSY; with `ask` the connection waits, under the ticket that is returned.
    pub fn rejected(
        &mut self,
        ticket: Option<Ticket>,
        ask: Option<Ask>,
        cause: Cause,
        sent: Time,
        now: Time,
    ) -> Option<Ticket> {
        let out = ticket.and_then(|ticket| self.out.remove(&ticket));
        let role = out.map(|out| out.role);
        let stale = matches!(self.phase, Phase::Open) && self.lease.outdates(sent, now);
        if !stale && let Some(threshold) = self.lease.learn(sent, now) {
            self.events.push(Event::ThresholdLearned { threshold });
        }
        let first = !stale && !matches!(self.phase, Phase::Busy(_));
        if first {
            self.begin_episode(cause, now);
        }
        if matches!(role, Some(Role::Leader | Role::Deaf)) {
            self.lease.measure_rejection(now - sent);
            self.plan_try(now - sent, now);
        } else if first {
            self.plan_try(Duration::ZERO, now);
        }
        if let Phase::Busy(episode) = &mut self.phase {
            episode.rejected += 1;
            episode.last_busy = now;
            episode.deserted = false;
        }
        let Some(ask) = ask else {
            // Its client left while it was tried.
            if let (Phase::Busy(episode), Some(out)) = (&mut self.phase, out) {
                episode.count(out.commands);
            }
            self.look_for_deserters();
            return None;
        };
        let Some(ticket) = ticket else { return Some(self.enqueue(ask)) };
        self.waiting.insert(ticket, ask);
        Some(ticket)
    }

    /// So many more commands were rejected along with the one that was told.
    pub const fn also_rejected(&mut self, commands: u64) {
        if let Phase::Busy(episode) = &mut self.phase {
            episode.rejected += commands;
        }
    }

    /// A connection goes, or has nothing to send any more.
    pub fn leave(&mut self, ticket: Ticket, now: Time) {
        let role = self.take_out(ticket).map(|out| out.role);
        let waited = self.waiting.remove(&ticket);
        if let Phase::Busy(episode) = &mut self.phase {
            if let Some(Ask { commands, .. }) = waited {
                episode.count(commands);
            }
            if matches!(role, Some(Role::Leader | Role::Deaf)) {
                episode.next_try = now;
            }
        }
        self.look_for_deserters();
    }

    /// A question that the shell itself put to the server at `sent` was executed (`open`) or rejected. It tells of the
    /// end of an episode that nobody waits for any more.
    pub fn observed(&mut self, open: bool, sent: Time, now: Time) {
        let Phase::Busy(episode) = &mut self.phase else { return };
        if !open {
            episode.last_busy = now;
        } else if episode.deserted && sent > episode.last_busy {
            episode.last_busy = now;
            self.end_episode(now);
        }
    }

    /// Whether the server was busy when the last that waited left, so that nobody will find out that it is open.
    pub const fn is_deserted(&self) -> bool {
        matches!(&self.phase, Phase::Busy(episode) if episode.deserted)
    }

    /// The shell ends.
    pub fn close(&mut self, now: Time) {
        if let Some(report) = self.episode(now) {
            self.events.push(Event::EpisodeLeft(report));
        }
    }

    /// A connection gave up so many commands.
    pub const fn gave_up(&mut self, commands: u64) {
        if let Phase::Busy(episode) = &mut self.phase {
            episode.given_up += commands;
        }
    }

    /// A script that came through this process was answered: BUSY may be over this very moment.
    pub const fn script_answered(&mut self, now: Time) {
        if let Phase::Busy(episode) = &mut self.phase {
            episode.next_try = now;
            episode.hinted = true;
        }
    }

    /// The threshold was read from the server.
    pub fn set_threshold(&mut self, threshold: Option<Duration>) {
        self.lease.set_threshold(threshold);
    }

    /// How many connections the server has, and how many of them are this gate's. So many gates there may be, which share
    /// the tries that the server can bear.
    pub fn set_clients(&mut self, clients: u32, mine: u32) {
        self.gates = Some(clients.div_ceil(mine.max(1)).max(1));
    }

    /// Lets nobody go from now on until [`thaw`](Self::thaw), so that no script of this process begins while `SCRIPT KILL` is on
    /// its way to another one, which was sent at `victim`. Only while the server is busy, and nobody is out who was let go after
    /// that; tells whether it is so.
    ///
    /// Servers kill what runs when the kill arrives: <https://redis.io/docs/latest/commands/script-kill/>.
    pub fn freeze(&mut self, victim: Time) -> bool {
        self.frozen = self.busy().is_some() && self.out.values().all(|out| out.since <= victim);
        self.frozen
    }

    /// Whether nobody is let go, whatever happens.
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The kill was answered.
    pub const fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Moves on to `now` and returns when to call again. Call it after every other call, too.
    ///
    /// `script_in_flight`: a script that came through this process is unanswered.
    pub fn tick(&mut self, script_in_flight: bool, now: Time) -> Time {
        loop {
            let next = if self.waiting.is_empty() || self.frozen {
                Time::NEVER
            } else {
                match self.phase {
                    Phase::Open => self.tick_open(now),
                    Phase::Stalled { next_scout, gap, .. } => self.tick_stalled(next_scout, gap, now),
                    Phase::Busy(_) => self.tick_busy(script_in_flight, now),
                }
            };
            if next > now {
                return next;
            }
        }
    }

    fn tick_open(&mut self, now: Time) -> Time {
        let Some(since) = self.oldest_scout() else {
            self.release(now);
            return now;
        };
        let overdue = since + self.overdue();
        if now >= overdue {
            self.stall(now);
            return now;
        }
        if now >= since + self.scout_wait() {
            while self.release(now) {}
            return overdue;
        }
        since + self.scout_wait()
    }

    fn tick_stalled(&mut self, next_scout: Time, gap: Duration, now: Time) -> Time {
        let speaker = self
            .first_waiting(|ask| ask.speaks() && ask.read)
            .or_else(|| self.first_waiting(|ask| ask.speaks()));
        // Nobody speaks for the server at all when the last scout's connection is gone.
        let unheard = speaker.is_some() && self.oldest_scout().is_none();
        if now < next_scout && !unheard {
            return next_scout;
        }
        let role = if speaker.is_some() { Role::Scout } else { Role::Alone };
        let chosen = speaker.or_else(|| self.first_waiting(|_| true));
        self.wake(chosen, role, now);
        if let Phase::Stalled { next_scout, gap: old, .. } = &mut self.phase {
            *next_scout = now + gap;
            *old = (gap * 2).min(SCOUT_GAP_MAX);
        }
        now + gap
    }

    fn tick_busy(&mut self, script_in_flight: bool, now: Time) -> Time {
        let silence = self.overdue() * 4;
        let Phase::Busy(episode) = &mut self.phase else { return Time::NEVER };
        // One whose successor was answered is not waited for any more.
        let leader = (self.out.values())
            .filter(|out| matches!(out.role, Role::Leader | Role::Deaf) && out.since >= episode.last_try)
            .max_by_key(|out| out.since)
            .copied();
        let due = match leader {
            Some(Out { role: Role::Deaf, since, .. }) => since + silence,
            Some(Out { since, .. }) => since + episode.patience,
            None if script_in_flight && !episode.hinted => {
                episode.next_try.max(episode.last_try + TRY_BESIDE_SCRIPT)
            }
            None => episode.next_try,
        };
        if now < due {
            return due;
        }
        match leader {
            // A busy server rejects at once; this one keeps the command, so it is open.
            Some(Out { role: Role::Deaf, .. }) => {
                self.end_episode(now);
                return now;
            }
            Some(_) => episode.patience *= 2,
            None => {}
        }
        episode.last_try = now;
        let speaker = self.first_waiting(|ask| ask.speaks());
        let role = if speaker.is_some() { Role::Leader } else { Role::Deaf };
        let chosen = speaker.or_else(|| self.first_waiting(|_| true));
        self.wake(chosen, role, now);
        now
    }

    /// Who may send now, to be woken by the shell; drained by the call.
    pub fn woken(&mut self) -> impl Iterator<Item = Ticket> {
        self.woken.drain(..)
    }

    /// How many those are.
    pub fn woken_count(&self) -> usize {
        self.woken.len()
    }

    /// What happened since the last call; drained by the call.
    pub fn events(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    /// Until when connections may send freely without asking; zero when they must ask.
    pub fn free_until(&self) -> Time {
        if matches!(self.phase, Phase::Open) && self.waiting.is_empty() && !self.frozen {
            self.lease.until()
        } else {
            Time::ZERO
        }
    }

    /// When the command of the latest proof was sent.
    pub const fn proved(&self) -> Time {
        self.lease.proved()
    }

    /// How long a lease runs from the sending of its proof.
    pub fn lease_width(&self) -> Duration {
        self.lease.width()
    }

    /// A proof whose command was sent before this moment is not worth telling: the lease is nearly as long already.
    pub fn proof_wanted_after(&self) -> Time {
        let until = self.free_until();
        if until == Time::ZERO {
            return Time::ZERO;
        }
        let width = self.lease.width();
        Time::ZERO + ((until - Time::ZERO).saturating_sub(width) + width / 8)
    }

    /// Whether the server is known to be busy, and with what.
    pub const fn busy(&self) -> Option<Cause> {
        match &self.phase {
            Phase::Busy(episode) => Some(episode.cause),
            _ => None,
        }
    }

    /// Since when the server is silent, if it is. That is also so if nobody waits whom it would concern.
    pub fn stalled(&self, now: Time) -> Option<Time> {
        match &self.phase {
            Phase::Stalled { since, .. } => Some(*since),
            Phase::Open => self.oldest_scout().filter(|since| now >= *since + self.overdue()),
            Phase::Busy(_) => None,
        }
    }

    /// What the episode is like that goes on now.
    pub fn episode(&self, now: Time) -> Option<EpisodeReport> {
        let Phase::Busy(episode) = &self.phase else { return None };
        let waiting = self.waiting.values().map(|ask| ask.commands);
        Some(episode.report(waiting.chain(self.out.values().map(|out| out.commands)), now))
    }

    /// How many connections wait, and how many commands on them; while the server is busy also those that are tried.
    pub fn held(&self) -> (usize, u64) {
        let tried = self.out.values().filter(|_| self.busy().is_some()).map(|out| out.commands);
        let waiting = self.waiting.values().map(|ask| ask.commands);
        waiting
            .chain(tried)
            .fold((0, 0), |(connections, sum), commands| (connections + 1, sum + u64::from(commands)))
    }

    /// Whether a command sent at `sent` and answered now cannot have been rejected as BUSY: since the latest proof no
    /// script can have run for long enough. What looks like BUSY then is a script's own reply.
    pub fn cannot_be_busy(&self, sent: Time, now: Time) -> bool {
        matches!(self.phase, Phase::Open) && self.lease.rules_out_busy(sent, now)
    }

    /// The assumed threshold; `None`: the server never answers BUSY.
    pub const fn threshold(&self) -> Option<Duration> {
        self.lease.threshold()
    }

    fn prove(&mut self, sent: Time, released: bool, now: Time) {
        self.lease.prove(sent, now);
        // As TCP opens its window: every answer lets two more go, so a server that turns busy again meets no herd.
        if released && !self.frozen {
            self.release(now);
            self.release(now);
        }
    }

    fn release(&mut self, now: Time) -> bool {
        let first = self.waiting.first_key_value().map(|(ticket, ask)| (*ticket, ask.speaks()));
        let role = first.map_or(Role::Alone, |(_, speaks)| if speaks { Role::Scout } else { Role::Alone });
        self.wake(first.map(|(ticket, _)| ticket), role, now)
    }

    /// Who was let through counts as having waited, from the moment on at which it does not any more.
    fn take_out(&mut self, ticket: Ticket) -> Option<Out> {
        let out = self.out.remove(&ticket)?;
        if let Phase::Busy(episode) = &mut self.phase {
            episode.count(out.commands);
        }
        Some(out)
    }

    fn look_for_deserters(&mut self) {
        if let Phase::Busy(episode) = &mut self.phase {
            episode.deserted = self.waiting.is_empty() && self.out.is_empty();
        }
    }

    fn first_waiting(&self, suits: impl Fn(&Ask) -> bool) -> Option<Ticket> {
        self.waiting.iter().take(LOOK_AHEAD).find(|(_, ask)| suits(ask)).map(|(ticket, _)| *ticket)
    }

    fn wake(&mut self, ticket: Option<Ticket>, role: Role, now: Time) -> bool {
        let Some(ticket) = ticket else { return false };
        let commands = self.waiting.remove(&ticket).map_or(0, |ask| ask.commands);
        self.out.insert(ticket, Out { role, since: now, commands });
        self.woken.push(ticket);
        true
    }

    fn enqueue(&mut self, ask: Ask) -> Ticket {
        let ticket = self.new_ticket();
        self.waiting.insert(ticket, ask);
        ticket
    }

    fn send_out(&mut self, role: Role, ask: Ask, now: Time) -> Ticket {
        let ticket = self.new_ticket();
        self.out.insert(ticket, Out { role, since: now, commands: ask.commands });
        ticket
    }

    const fn new_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn oldest_scout(&self) -> Option<Time> {
        self.out.values().filter(|out| out.role == Role::Scout).map(|out| out.since).min()
    }

    fn scout_wait(&self) -> Duration {
        let overdue = self.overdue();
        if overdue < LONG_LINE { overdue } else { SCOUT_WAIT }
    }

    fn overdue(&self) -> Duration {
        (self.lease.round_trip() * 4).clamp(OVERDUE_MIN, OVERDUE_MAX)
    }

    fn patience(&self) -> Duration {
        PATIENCE_MIN.max(self.overdue())
    }

    // Open => Stalled: the first scout counts as the first of the series that doubles.
    fn stall(&mut self, now: Time) {
        let since = self.oldest_scout().unwrap_or(now);
        let gap = self.patience();
        self.events.push(Event::StallBegan);
        self.phase = Phase::Stalled { since, next_scout: since + gap, gap: gap * 2 };
    }

    // Any => Busy.
    fn begin_episode(&mut self, cause: Cause, now: Time) {
        if let Phase::Stalled { since, .. } = self.phase {
            self.events.push(Event::StallEnded { lasted: now - since });
        }
        self.lease.revoke();
        self.events.push(Event::EpisodeBegan { cause });
        // Their replies will tell of a time before BUSY; nobody waits for them any more.
        self.out.clear();
        self.phase = Phase::Busy(Episode::new(cause, self.patience(), now));
    }

    // Busy => Open.
    fn end_episode(&mut self, now: Time) {
        if let Some(report) = self.episode(now) {
            self.events.push(Event::EpisodeEnded(report));
        }
        self.phase = Phase::Open;
        self.out.clear();
    }

    /// The time between tries grows with the age of the episode and is never below two round trips, so that many
    /// processes do not hammer a busy server. The last try took no less than a round trip, and what was measured before
    /// may be the length of a stall, so the shorter of both counts.
    fn plan_try(&mut self, took: Duration, now: Time) {
        let usual = self.lease.round_trip();
        let round_trip = if usual.is_zero() { took } else { took.min(usual) };
        let patience = self.patience();
        let Pace { first, longest } = self.pace;
        let Phase::Busy(episode) = &mut self.phase else { return };
        let age = now - episode.since;
        let is_new = age < NEW && self.gates.is_some();
        let most = if is_new { TRY_MAX_NEW } else { TRY_MAX_YOUNG.max(age / 200) };
        let longest = most.min(longest).max(first);
        let share = TRY_SHARE * self.gates.unwrap_or_default();
        let wait = (age / 16).clamp(first, longest).max(share.max(round_trip * 2).min(TRY_MAX));
        episode.next_try = now + wait;
        episode.patience = patience;
        episode.hinted = false;
    }
}
