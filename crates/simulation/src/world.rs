//! Connections that drive sessions and a gate as the proxy does, in virtual time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::session::{Out, Pass, SessionError, Want};
use unbusy_core::{Event, Gate, Policy, Session, Time};

use crate::server::{Server, Settings};
use crate::{MS, Rng};

/// What the proxy reads at once.
pub const READ_BYTES: usize = 64 * 1024;
/// How long the proxy waits for the answer to a command whose client has gone.
const ORPHAN_WAIT: Duration = Duration::from_secs(60);
/// What a client sent before it closed is executed if the gate opens within this time.
pub const GONE_WAIT: Duration = Duration::from_millis(50);
/// What is written at once and no longer than this arrives at once.
const SEGMENT_BYTES: usize = 1200;
/// When a lost packet is sent again: Linux waits for 200 ms at least.
const RETRANSMISSION_MAX: Duration = Duration::from_millis(300);
/// More steps than any test needs: something goes round and round.
const STEPS_MAX: u64 = 3_000_000;

/// Where the connection stands at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Away,
    Waiting(Ticket),
    Sent(Ticket),
}

/// Bytes on their way; in order, whatever their delays.
#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<(Time, Vec<u8>)>,
    latest: Time,
}

impl Pipe {
    /// Cuts the bytes into pieces of at least this length, which arrive one after the other.
    fn push(&mut self, bytes: &[u8], least: usize, now: Time, network: &mut Network) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len();
            let length = if network.rng.one_in(2) { most } else { least + network.rng.index(most.min(3000)) };
            let (piece, others) = rest.split_at(length.min(most));
            let arrives = self.latest.max(now + network.rng.span(network.delay));
            self.latest = arrives;
            self.flying.push_back((arrives, piece.to_vec()));
            rest = others;
        }
    }

    fn next(&self) -> Time {
        self.flying.front().map_or(Time::NEVER, |(at, _)| *at)
    }

    fn pop(&mut self, now: Time) -> Option<Vec<u8>> {
        self.flying.front().filter(|(at, _)| *at <= now)?;
        self.flying.pop_front().map(|(_, bytes)| bytes)
    }
}

#[derive(Debug)]
struct Network {
    rng: Rng,
    delay: (Duration, Duration),
    /// Some replies come late, as if a packet was lost or the shell did not run.
    loses_replies: bool,
}

/// One client connection, the session, and the server connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Pair {
    session: Session,
    place: Place,
    conn: usize,
    from_client: VecDeque<(Time, Vec<u8>)>,
    leaves: Time,
    /// The client has closed its socket for both directions, not just for sending.
    vanishes: bool,
    client_inbox: Vec<u8>,
    server_inbox: Vec<u8>,
    to_server: Pipe,
    from_server: Pipe,
    timer: Option<Time>,
    blocked_until: Time,
    client_closed: bool,
    client_lost: bool,
    server_told: bool,
    ended: bool,
    accepted: usize,
    /// What the client got.
    pub replies: Vec<u8>,
    /// When each piece of it came.
    pub reply_times: Vec<(Time, usize)>,
    /// When bytes were written to the server, and how many.
    pub writes: Vec<(Time, usize)>,
    /// When it was seen that the client has gone, and whether its commands waited for the server then.
    pub gone: Option<(Time, bool)>,
    /// What ended the session before its time.
    pub error: Option<SessionError>,
    /// How many of its commands were given up.
    pub given_up: u64,
    /// The most bytes that were taken from the client beyond `answered_bytes`.
    pub held_max: usize,
    /// How long every command of this client is, for the accounts of `held_max`, and every reply.
    pub sizes: Option<(usize, usize)>,
}

/// The world. See the module's documentation.
#[derive(Debug)]
pub struct World {
    /// What time it is.
    pub now: Time,
    /// The server.
    pub server: Server,
    /// The connections through the proxy.
    pub pairs: Vec<Pair>,
    /// What the gate and the sessions told, and when.
    pub events: Vec<(Time, Event)>,
    policy: Policy,
    gate: Gate,
    network: Network,
    /// Whose connection is whose: the pair of a server connection, if it has one.
    owners: Vec<Option<usize>>,
    direct: Vec<(Time, usize, Vec<u8>)>,
    ready: BTreeSet<usize>,
    deadline: Time,
    /// Whom the last call of the gate let go.
    woken: Vec<Ticket>,
    episode: Option<Time>,
    steps: u64,
}

/// The world begins here, so that every moment is above zero.
pub const START: Time = Time::from_nanos(1_000_000_000);

impl World {
    /// A world without clients.
    pub fn new(seed: u64, settings: Settings, policy: Policy, delay: (Duration, Duration)) -> Self {
        let threshold = settings.threshold;
        Self {
            now: START,
            server: Server::new(settings, Rng(seed ^ 1)),
            pairs: Vec::new(),
            events: Vec::new(),
            policy,
            gate: Gate::new(threshold),
            network: Network { rng: Rng(seed ^ 2), delay, loses_replies: false },
            owners: Vec::new(),
            direct: Vec::new(),
            ready: BTreeSet::new(),
            deadline: Time::NEVER,
            woken: Vec::new(),
            episode: None,
            steps: 0,
        }
    }

    /// The gate believes in this threshold, whatever the server's is.
    pub const fn assume(&mut self, threshold: Option<Duration>) {
        self.gate.set_threshold(threshold);
    }

    /// From now on some replies are late by as much as a retransmission takes, while others are not.
    pub const fn lose_replies(&mut self) {
        self.network.loses_replies = true;
    }

    /// A client through the proxy, which sends these bytes so long after the start.
    pub fn client(&mut self, sends: impl IntoIterator<Item = (Duration, Vec<u8>)>) -> usize {
        let conn = self.server.connect();
        self.owners.push(Some(self.pairs.len()));
        self.pairs.push(Pair {
            session: Session::new(self.policy),
            place: Place::Away,
            conn,
            from_client: sends.into_iter().map(|(after, bytes)| (START + after, bytes)).collect(),
            leaves: Time::NEVER,
            vanishes: false,
            client_inbox: Vec::new(),
            server_inbox: Vec::new(),
            to_server: Pipe::default(),
            from_server: Pipe::default(),
            timer: None,
            blocked_until: Time::ZERO,
            client_closed: false,
            client_lost: false,
            server_told: false,
            ended: false,
            accepted: 0,
            replies: Vec::new(),
            reply_times: Vec::new(),
            writes: Vec::new(),
            gone: None,
            error: None,
            given_up: 0,
            held_max: 0,
            sizes: None,
        });
        self.pairs.len() - 1
    }

    /// The client sends more.
    pub fn sends(&mut self, pair: usize, after: Duration, bytes: Vec<u8>) {
        self.pairs[pair].from_client.push_back((START + after, bytes));
    }

    /// The client closes so long after the start.
    pub fn leaves(&mut self, pair: usize, after: Duration, vanishes: bool) {
        self.pairs[pair].leaves = START + after;
        self.pairs[pair].vanishes = vanishes;
    }

    /// Bytes that reach the server beside the proxy at these times, on one connection.
    pub fn direct(&mut self, sends: impl IntoIterator<Item = (Duration, Vec<u8>)>) -> usize {
        let conn = self.server.connect();
        self.owners.push(None);
        self.direct.extend(sends.into_iter().map(|(after, bytes)| (START + after, conn, bytes)));
        self.direct.sort_by_key(|send| std::cmp::Reverse(send.0));
        conn
    }

    /// The server connection of a client.
    pub fn conn(&self, pair: usize) -> usize {
        self.pairs[pair].conn
    }

    /// Whether this was told.
    pub fn saw(&self, event: &Event) -> bool {
        self.events.iter().any(|(_, seen)| seen == event)
    }

    /// Database and words of what one client's connection executed.
    pub fn executed(&self, pair: usize) -> Vec<(u32, Vec<String>)> {
        let conn = self.pairs[pair].conn;
        let mine = self.server.log.iter().filter(|entry| entry.conn == conn);
        mine.map(|entry| (entry.db, entry.words.clone())).collect()
    }

    /// Lets time pass until nothing is to come, at most for so long after the start.
    pub fn run(&mut self, most: Duration) {
        self.ready.extend(0..self.pairs.len());
        loop {
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "goes round and round at {:?}", self.now);
            while let Some(pair) = self.ready.pop_first() {
                self.drive(pair);
            }
            self.collect_sent();
            let next = self.next();
            if next > START + most {
                return;
            }
            self.now = self.now.max(next);
            self.arrive();
            self.server.advance(self.now);
            self.collect_sent();
            if self.deadline <= self.now {
                self.with(|_, _| ());
            }
        }
    }

    fn next(&self) -> Time {
        let pairs = self.pairs.iter().map(|pair| {
            let timer = pair.timer.filter(|timer| *timer > self.now && !pair.ended).unwrap_or(Time::NEVER);
            let blocked = if pair.blocked_until > self.now { pair.blocked_until } else { Time::NEVER };
            let leaves = if pair.client_closed || pair.ended { Time::NEVER } else { pair.leaves };
            let leaves = if leaves <= self.now { Time::NEVER } else { leaves };
            let from_client = pair.from_client.front().map_or(Time::NEVER, |(at, _)| *at);
            let from_client = if pair.ended { Time::NEVER } else { from_client };
            timer
                .min(blocked)
                .min(leaves)
                .min(from_client)
                .min(pair.to_server.next())
                .min(pair.from_server.next())
        });
        let direct = self.direct.last().map_or(Time::NEVER, |(at, ..)| *at);
        pairs.fold(self.server.next().min(self.deadline).min(direct), Time::min)
    }

    /// What was on its way and is due.
    fn arrive(&mut self) {
        let now = self.now;
        while self.direct.last().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, conn, bytes)) = self.direct.pop() else { return };
            self.server.receive(conn, &bytes, now);
        }
        for (at, pair) in self.pairs.iter_mut().enumerate() {
            while let Some(bytes) = pair.to_server.pop(now) {
                self.server.receive(pair.conn, &bytes, now);
            }
            while let Some(bytes) = pair.from_server.pop(now) {
                pair.server_inbox.extend(bytes);
                self.ready.insert(at);
            }
            while pair.from_client.front().is_some_and(|(at, _)| *at <= now) {
                pair.client_inbox
                    .extend(pair.from_client.pop_front().into_iter().flat_map(|(_, bytes)| bytes));
                self.ready.insert(at);
            }
            let due = pair.timer.is_some_and(|timer| timer <= now);
            if due || pair.blocked_until == now || (pair.leaves <= now && !pair.client_closed) {
                self.ready.insert(at);
            }
        }
    }

    fn collect_sent(&mut self) {
        for (conn, bytes) in self.server.take_sent() {
            if let Some(pair) = self.owners[conn] {
                if self.network.loses_replies && self.network.rng.one_in(20) {
                    let found = self.now + self.network.rng.span((MS, RETRANSMISSION_MAX));
                    let pipe = &mut self.pairs[pair].from_server;
                    pipe.latest = pipe.latest.max(found);
                }
                self.pairs[pair].from_server.push(&bytes, 1, self.now, &mut self.network);
            }
        }
    }

    /// Every call of the gate goes through here, as in the proxy.
    fn with<R>(&mut self, change: impl FnOnce(&mut Gate, Time) -> R) -> R {
        let script_in_flight =
            self.pairs.iter().any(|pair| !pair.ended && pair.session.scripts_in_flight() > 0);
        let now = self.now;
        let result = change(&mut self.gate, now);
        self.deadline = self.gate.tick(script_in_flight, now);
        assert!(self.deadline > now, "the gate wants to be called again at once");
        self.woken = self.gate.woken().collect();
        for ticket in &self.woken {
            let waiter = self.pairs.iter().position(|pair| pair.place == Place::Waiting(*ticket));
            self.ready.extend(waiter);
        }
        self.events.extend(self.gate.events().map(|event| (now, event)));
        match (self.gate.busy(), self.episode) {
            (None, _) => self.episode = None,
            (Some(_), None) => self.episode = Some(now),
            _ => {}
        }
        result
    }

    fn is_free(&self, at: usize) -> bool {
        let free = self.now < self.gate.free_until() || (!self.policy.strict && self.gate.busy().is_none());
        free && self.pairs[at].session.may_join(self.gate.lease_width(), self.now)
    }

    fn drive(&mut self, at: usize) {
        while !self.pairs[at].ended {
            let mut progress = self.read_server(at);
            progress |= self.read_client(at);
            progress |= self.send(at);
            progress |= self.check_budget(at);
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "goes round and round at {:?}", self.now);
            if !progress {
                break;
            }
        }
        self.finish(at);
    }

    fn end(&mut self, at: usize) {
        self.pairs[at].ended = true;
        if let Some(ticket) = self.take_ticket(at) {
            self.with(|gate, now| gate.leave(ticket, now));
        }
    }

    fn finish(&mut self, at: usize) {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.ended {
            return;
        }
        let answered = pair.session.is_quiet() && !pair.session.is_tunnel();
        if pair.session.is_refused() {
            return self.end(at);
        }
        if !pair.client_closed {
            return;
        }
        if answered || (pair.client_lost && pair.session.is_idle()) {
            return self.end(at);
        }
        if !pair.server_told && pair.session.outgoing().is_empty() && !pair.session.has_unsent() {
            pair.server_told = true;
            pair.timer = Some(now + ORPHAN_WAIT);
        }
        if pair.server_told && pair.timer.is_some_and(|timer| timer <= now) {
            self.end(at);
        }
    }

    fn read_client(&mut self, at: usize) -> bool {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.client_closed || pair.ended || !pair.session.wants_read() {
            return false;
        }
        if pair.client_inbox.is_empty() {
            if pair.session.is_poisoned() {
                pair.session.unpoison();
            }
            if pair.leaves > now {
                return false;
            }
            pair.client_closed = true;
            let waits = matches!(pair.place, Place::Waiting(_)) || pair.session.is_held();
            pair.gone = Some((now, waits));
            pair.session.client_gone();
            return true;
        }
        let all = pair.client_inbox.len().min(READ_BYTES);
        let count = if self.network.rng.one_in(2) { all } else { 1 + self.network.rng.index(all) };
        let bytes: Vec<u8> = pair.client_inbox.drain(..count).collect();
        pair.accepted += count;
        let mut out = Out::default();
        match pair.session.client_bytes(&bytes, now, &mut out) {
            Ok(_) => {}
            Err(error) => {
                pair.error = Some(error);
                self.end(at);
                return true;
            }
        }
        if let Some((command, reply)) = pair.sizes {
            let answered = pair.replies.len() / reply * command;
            pair.held_max = pair.held_max.max(pair.accepted - answered);
        }
        self.pairs[at].given_up += out.given_up;
        self.deliver(at, &[], &out);
        true
    }

    fn read_server(&mut self, at: usize) -> bool {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.ended || pair.server_inbox.is_empty() {
            return false;
        }
        let all = pair.server_inbox.len().min(READ_BYTES);
        let count = if self.network.rng.one_in(2) { all } else { 1 + self.network.rng.index(all) };
        let bytes: Vec<u8> = pair.server_inbox.drain(..count).collect();
        let mut out = Out::default();
        let read = pair.session.server_bytes(&bytes, now, &mut out);
        self.deliver(at, &bytes, &out);
        self.report(at, &out);
        self.settle_doubt(at);
        if let Err(error) = read {
            self.pairs[at].error = Some(error);
            self.end(at);
        }
        true
    }

    fn deliver(&mut self, at: usize, read: &[u8], out: &Out) {
        if out.pieces().is_empty() || self.pairs[at].client_lost {
            return;
        }
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.client_closed && pair.vanishes {
            pair.client_lost = true;
            pair.session.client_lost();
            if pair.session.is_idle() {
                self.leave_gate(at);
            }
            return;
        }
        let bytes = out.to_client(read);
        pair.reply_times.push((now, bytes.len()));
        pair.replies.extend(bytes);
    }

    fn report(&mut self, at: usize, out: &Out) {
        let now = self.now;
        self.events.extend(out.events.iter().map(|event| (now, event.clone())));
        if let Some(sent) = out.proof {
            if let Place::Sent(ticket) = self.pairs[at].place {
                self.pairs[at].place = Place::Away;
                self.with(|gate, now| gate.answered(Some(ticket), Outcome::Proof, sent, now));
            } else if sent >= self.gate.proof_wanted_after() {
                self.with(|gate, now| gate.answered(None, Outcome::Proof, sent, now));
            }
        }
        if let Some((cause, sent)) = out.rejection {
            let ticket = self.take_ticket(at);
            let session = &self.pairs[at].session;
            let ask = session.is_held().then(|| session.ask());
            let ticket = self.with(|gate, now| {
                let ticket = gate.rejected(ticket, ask, cause, sent, now);
                gate.also_rejected(out.rejected.saturating_sub(1));
                ticket
            });
            self.pairs[at].place = ticket.map_or(Place::Away, Place::Waiting);
            self.look_if_woken(at);
        } else if let Place::Sent(ticket) = self.pairs[at].place
            && self.pairs[at].session.is_idle()
        {
            self.pairs[at].place = Place::Away;
            self.with(|gate, now| gate.answered(Some(ticket), Outcome::Unclear, now, now));
        }
        if out.script_answered {
            self.with(Gate::script_answered);
        }
        if out.given_up > 0 {
            self.pairs[at].given_up += out.given_up;
            self.with(|gate, _| gate.gave_up(out.given_up));
        }
    }

    /// A script that answers BUSY may have run. If the gate cannot tell, the session asks the server.
    fn settle_doubt(&mut self, at: usize) {
        let now = self.now;
        let Some((cause, sent)) = self.pairs[at].session.doubt() else { return };
        if self.gate.busy().is_some() {
            self.pairs[at].session.confirm_rejection();
            if self.pairs[at].place == Place::Away {
                let ask = Some(self.pairs[at].session.ask());
                let ticket = self.with(|gate, now| gate.rejected(None, ask, cause, sent, now));
                self.pairs[at].place = ticket.map_or(Place::Away, Place::Waiting);
                self.look_if_woken(at);
            }
        } else if self.gate.cannot_be_busy(sent, now) {
            let mut out = Out::default();
            self.pairs[at].session.deny_rejection(now, &mut out);
            self.deliver(at, &[], &out);
            self.report(at, &out);
        }
    }

    /// The gate may let go in the same moment whom it was just told of.
    fn look_if_woken(&mut self, at: usize) {
        if let Place::Waiting(ticket) = self.pairs[at].place
            && self.woken.contains(&ticket)
        {
            self.ready.insert(at);
        }
    }

    fn take_ticket(&mut self, at: usize) -> Option<Ticket> {
        match std::mem::replace(&mut self.pairs[at].place, Place::Away) {
            Place::Away => None,
            Place::Waiting(ticket) | Place::Sent(ticket) => Some(ticket),
        }
    }

    fn send(&mut self, at: usize) -> bool {
        let now = self.now;
        let mut progress = false;
        loop {
            if self.pairs[at].ended || !self.write_server(at, &mut progress) {
                return progress;
            }
            match self.pairs[at].session.want() {
                Want::Nothing => return progress,
                Want::Pass => {
                    if let Some(ticket) = self.take_ticket(at) {
                        self.with(|gate, now| gate.leave(ticket, now));
                    }
                    self.pairs[at].session.send(Pass::One, now);
                }
                // It waited when its client went, and waits no longer: what is left counts as given up.
                Want::Gate(_) if self.is_over(at) => {
                    if self.pairs[at].session.is_idle() {
                        self.leave_gate(at);
                    }
                    return progress;
                }
                Want::Gate(_) if self.pairs[at].place == Place::Away && self.is_free(at) => {
                    self.pairs[at].session.send(Pass::Free, now);
                }
                Want::Gate(_) if !self.pairs[at].session.is_idle() => return progress,
                Want::Gate(ask) => {
                    if !self.ask_gate(at, ask) {
                        return progress;
                    }
                }
            }
            progress = true;
        }
    }

    fn is_over(&self, at: usize) -> bool {
        self.pairs[at].gone.is_some_and(|(gone, waited)| waited && self.now - gone > GONE_WAIT)
    }

    /// `false`: the socket is full.
    fn write_server(&mut self, at: usize, progress: &mut bool) -> bool {
        let now = self.now;
        while !self.pairs[at].session.outgoing().is_empty() {
            let pair = &mut self.pairs[at];
            if pair.blocked_until > now {
                return false;
            }
            if self.pairs[at].session.needs_lease() && !self.is_free(at) {
                self.pairs[at].session.take_back();
                if self.pairs[at].session.outgoing().is_empty() {
                    return true;
                }
            }
            let pair = &mut self.pairs[at];
            let all = pair.session.outgoing().len();
            let (few, full) = (self.network.rng.one_in(8), self.network.rng.one_in(32));
            let count = if few { 1 + self.network.rng.index(all) } else { all };
            let bytes = pair.session.outgoing()[..count].to_vec();
            pair.to_server.push(&bytes, SEGMENT_BYTES, now, &mut self.network);
            pair.writes.push((now, count));
            if full {
                pair.blocked_until = now + self.network.rng.span((Duration::from_micros(10), MS));
            }
            let mut out = Out::default();
            pair.session.wrote(count, &mut out);
            if out.rejection.is_some() || !out.pieces().is_empty() {
                self.deliver(at, &[], &out);
                self.report(at, &out);
            }
            *progress = true;
        }
        true
    }

    fn ask_gate(&mut self, at: usize, mut ask: Ask) -> bool {
        let now = self.now;
        ask.scout &= !self.pairs[at].client_lost;
        let ticket = self.take_ticket(at);
        let answer = self.with(|gate, now| gate.ask(ticket, ask, now));
        let pair = &mut self.pairs[at];
        match answer {
            Answer::Free => pair.session.send(Pass::Free, now),
            Answer::One(ticket) => {
                if !pair.client_closed && !pair.session.wants_read() && pair.leaves <= now {
                    pair.place = ticket.map_or(Place::Away, Place::Waiting);
                    pair.client_closed = true;
                    pair.gone.get_or_insert((now, true));
                    pair.session.client_gone();
                    self.leave_gate(at);
                    return false;
                }
                pair.place = ticket.map_or(Place::Away, Place::Sent);
                pair.session.send(Pass::One, now);
            }
            Answer::Wait(ticket) => {
                pair.place = Place::Waiting(ticket);
                if pair.client_closed && (pair.session.is_held() || self.episode.is_some()) {
                    self.leave_gate(at);
                } else if !pair.client_closed {
                    pair.session.wait_began(now);
                    pair.timer = pair.session.deadline();
                    self.look_if_woken(at);
                }
                return false;
            }
        }
        true
    }

    fn leave_gate(&mut self, at: usize) {
        if let Some(ticket) = self.take_ticket(at) {
            self.with(|gate, now| gate.leave(ticket, now));
        }
        self.pairs[at].session.abandon();
    }

    fn check_budget(&mut self, at: usize) -> bool {
        let (now, episode) = (self.now, self.episode);
        let pair = &mut self.pairs[at];
        if pair.ended || !matches!(pair.place, Place::Waiting(_)) || pair.client_closed {
            if !pair.client_closed {
                pair.timer = None;
            }
            return false;
        }
        pair.timer = pair.session.deadline();
        if pair.timer.is_none_or(|timer| timer > now) {
            return false;
        }
        let mut out = Out::default();
        pair.session.expire(episode, now, &mut out);
        pair.given_up += out.given_up;
        self.deliver(at, &[], &out);
        if out.given_up > 0 {
            self.with(|gate, _| gate.gave_up(out.given_up));
        }
        if self.pairs[at].session.is_quiet()
            && let Some(ticket) = self.take_ticket(at)
        {
            self.with(|gate, now| gate.leave(ticket, now));
        }
        self.pairs[at].timer = None;
        true
    }
}
