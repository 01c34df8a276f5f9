//! All together: what may happen next, and what must hold.

use stateright::{Model, Property};

use crate::gate::{Gate, Phase, Place, Standing};
use crate::lane::{Flight, Lane, Spot, Told};
use crate::oracle::{Fault, Oracle, Sight};
use crate::properties;
use crate::server::{Reply, Server};
use crate::setting::{Kind, Setting};

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The server.
    pub server: Server,
    /// The gate.
    pub gate: Gate,
    /// The connections.
    pub lanes: Vec<Lane>,
    /// How many clients have left.
    pub left: u8,
    /// What was promised.
    pub oracle: Oracle,
}

/// Something that may happen. Connections are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Tick,
    /// A script begins, between two commands.
    ScriptBegins,
    /// The script ends, at any moment but within a reading.
    ScriptEnds,
    /// The next command on the line reaches the server's socket buffer.
    Arrives(usize),
    /// The server executes the next command in its socket buffer.
    Executes(usize),
    /// A busy server reads a client in a hook.
    Hook(usize),
    /// The server writes its replies.
    Flush,
    /// A reply arrives.
    Receives(usize),
    /// A connection sends a command without asking.
    Sends(usize),
    /// A connection asks the gate.
    Asks {
        /// Which.
        conn: usize,
        /// A complete transaction is next, and goes as one.
        unit: bool,
    },
    /// A connection that was let go sends.
    Goes {
        /// Which.
        conn: usize,
        /// A complete transaction is next, and goes as one.
        unit: bool,
    },
    /// A scout is overdue.
    Stalls,
    /// On a long line others go without waiting for the first scout.
    ReleasesAll,
    /// One more scout goes in a stall.
    Scouts,
    /// The server is busy, and it is time to try.
    Tries,
    /// The leader's answer is overdue, so another may try.
    LosesPatience,
    /// A deaf leader has not been rejected for so long that the server must be open.
    HearsNothing,
    /// A client leaves.
    Leaves(usize),
}

impl State {
    /// All clients that stay have their answers.
    pub fn is_settled(&self, setting: &Setting) -> bool {
        let mut lanes = self.lanes.iter().zip(&setting.clients);
        lanes.all(|(lane, client)| lane.gone || usize::from(lane.done) == client.len())
    }

    fn spot(&self, conn: usize, is: impl Fn(Spot) -> bool) -> Option<usize> {
        self.lanes[conn].flights.iter().position(|flight| is(flight.spot))
    }

    /// Assumption A1: what was sent under a lease may be no longer on the line.
    fn is_due(&self, setting: &Setting) -> bool {
        let leased = self.lanes.iter().filter(|lane| lane.leased);
        let mut flights = leased.flat_map(|lane| &lane.flights);
        flights.any(|flight| flight.spot == Spot::Line && flight.age >= setting.line)
    }

    fn may_send(&self, setting: &Setting, conn: usize) -> bool {
        let lane = &self.lanes[conn];
        let away = self.gate.standing(conn).is_none();
        let wants = lane.upcoming(setting, conn).is_some();
        let joins = lane.may_join(setting, conn, self.gate.width(setting));
        wants && away && joins && self.gate.is_free(setting)
    }

    fn may_ask(&self, setting: &Setting, conn: usize) -> bool {
        let lane = &self.lanes[conn];
        let idle = lane.flights.is_empty() && lane.upcoming(setting, conn).is_some();
        let stands = self.gate.standing(conn).is_some_and(|standing| standing != Standing::Lapsed);
        idle && !stands && !self.may_send(setting, conn)
    }

    fn may_go(&self, setting: &Setting, conn: usize) -> bool {
        let lane = &self.lanes[conn];
        let idle = lane.flights.is_empty() && lane.upcoming(setting, conn).is_some();
        let let_go = matches!(
            self.gate.standing(conn),
            Some(Standing::Scout | Standing::Leader { .. } | Standing::Deaf | Standing::Alone)
        );
        idle && let_go
    }

    fn send(&mut self, setting: &Setting, conn: usize, leased: bool, unit: bool) {
        let sure = self.gate.unbroken;
        self.lanes[conn].send(setting, conn, leased, unit, sure);
    }

    /// Without having waited. Those who wait have come before.
    fn send_unasked(&mut self, setting: &Setting, conn: usize, leased: bool, unit: bool) {
        self.oracle.expect(!self.gate.anybody_waits(), Fault::Overtaken);
        self.send(setting, conn, leased, unit);
    }

    /// `Gate::ask`.
    fn ask(&mut self, setting: &Setting, conn: usize, unit: bool) {
        let scout = self.lanes[conn].scouts(setting, conn, unit);
        if self.gate.standing(conn).is_some() {
            // Let go before an episode began or ended: `Gate::ask_again`.
            self.gate.ask_again(conn, scout);
        } else if self.gate.phase != Phase::Open || (setting.rules.queue && self.gate.anybody_waits()) {
            self.gate.enqueue(conn, Standing::Waiting { scout });
        } else if !scout {
            self.send_unasked(setting, conn, false, unit);
        } else if !self.gate.scouts() {
            self.send_unasked(setting, conn, false, unit);
            self.lanes[conn].asked = true;
            self.gate.enqueue(conn, Standing::Scout);
        } else {
            self.gate.enqueue(conn, Standing::Waiting { scout });
        }
        self.gate.settle();
    }

    fn hook(&mut self, setting: &Setting, conn: usize) {
        for _ in 0..self.server.reads(setting, conn) {
            let Some(at) = self.spot(conn, |spot| spot == Spot::Socket) else { return };
            self.handle(setting, conn, at);
        }
    }

    fn handle(&mut self, setting: &Setting, conn: usize, flight: usize) {
        let at = self.lanes[conn].flights[flight].at;
        let reply = self.server.handle(setting, &mut self.oracle, conn, at);
        self.lanes[conn].flights[flight].spot = Spot::Out(reply);
    }

    fn flush(&mut self) {
        for flight in self.lanes.iter_mut().flat_map(|lane| &mut lane.flights) {
            if let Spot::Out(reply) = flight.spot {
                flight.spot = Spot::Back(reply);
            }
        }
    }

    /// A reply arrives, and the gate is told what it means: `Pair::report`.
    fn receive(&mut self, setting: &Setting, conn: usize) {
        let flight = self.lanes[conn].flights.remove(0);
        let Spot::Back(reply) = flight.spot else { return };
        let lane = &mut self.lanes[conn];
        if lane.leased && !lane.flights.is_empty() && matches!(reply, Reply::Busy(_)) {
            self.oracle.see(Sight::Pipeline);
        }
        let told = lane.receive(setting, &mut self.oracle, conn, flight.at, reply);
        match told {
            Told::Proof => self.prove(setting, conn, flight.age),
            Told::Rejected { script, held } => self.rejected(setting, conn, &flight, script, held),
            Told::Nothing if lane.asked && lane.flights.is_empty() => {
                lane.asked = false;
                self.gate.answered(setting, Some(conn), None, &[]);
            }
            Told::Nothing => {}
        }
        self.make_way(setting, conn);
    }

    /// `Pair::report_proof`.
    fn prove(&mut self, setting: &Setting, conn: usize, sent: u8) {
        if self.gate.phase != Phase::Busy || self.lanes[conn].asked {
            self.hear(sent);
        }
        let sent_before = |lane: &Lane| lane.flights.first().is_some_and(|flight| flight.age >= sent);
        let overtaken: Vec<_> =
            (0..self.lanes.len()).filter(|&conn| sent_before(&self.lanes[conn])).collect();
        let asked = std::mem::take(&mut self.lanes[conn].asked);
        self.gate.answered(setting, asked.then_some(conn), Some(sent), &overtaken);
    }

    /// Which commands in flight were sent before the newest proof was heard, and before the server is known not to have
    /// been busy: `Lease::prove`.
    fn hear(&mut self, sent: u8) {
        let newest = sent < self.gate.proved;
        let continues = self.gate.unbroken && self.gate.proved < self.gate.threshold;
        self.gate.unbroken = true;
        for flight in self.lanes.iter_mut().flat_map(|lane| &mut lane.flights) {
            flight.fresh &= !newest;
            flight.sure &= continues;
        }
    }

    fn rejected(&mut self, setting: &Setting, conn: usize, flight: &Flight, script: u8, held: bool) {
        let stale = self.gate.phase == Phase::Open && self.gate.outdates(flight.age) && !flight.fresh;
        if stale {
            self.oracle.see(Sight::Late);
            let over = self.server.script.is_none() || self.server.begun != script;
            self.oracle.expect(over, Fault::Misdated);
        }
        self.oracle.expect(!self.rules_out_busy(setting, flight), Fault::Mistaken);
        self.learn(setting, flight, stale);
        let lane = &mut self.lanes[conn];
        lane.asked = false;
        let ask = held.then(|| lane.scouts(setting, conn, false));
        self.gate.rejected(conn, ask, stale);
    }

    /// `Gate::cannot_be_busy`.
    fn rules_out_busy(&self, setting: &Setting, flight: &Flight) -> bool {
        let known = if setting.rules.heard { flight.sure } else { flight.age <= self.gate.proved };
        self.gate.phase == Phase::Open && known && self.gate.proved < self.gate.threshold
    }

    /// `Lease::learn`.
    fn learn(&mut self, setting: &Setting, flight: &Flight, stale: bool) {
        let first = !stale && self.gate.phase != Phase::Busy;
        let may = if setting.rules.heard { flight.fresh } else { first };
        if may && self.gate.learn() {
            self.oracle.see(Sight::Learned);
            self.oracle.expect(self.gate.threshold >= setting.threshold, Fault::Mislearned);
        }
    }

    /// Who has nothing left to send leaves the gate, and so does whose client has left: `Pair::make_way`,
    /// `Pair::leave_gate`.
    fn make_way(&mut self, setting: &Setting, conn: usize) {
        let lane = &self.lanes[conn];
        let done = setting.rules.makes_way && lane.has_sent_all(setting, conn);
        if lane.flights.is_empty() && (lane.gone || done) {
            self.gate.take(conn);
            self.gate.settle();
        }
    }

    fn tick(&mut self, setting: &Setting) {
        self.server.script = self.server.script.map(|age| (age + 1).min(setting.threshold));
        self.gate.tick(setting);
        self.lanes.iter_mut().for_each(|lane| lane.tick(setting));
    }

    /// Whether it may happen now.
    fn allows(&self, setting: &Setting, action: Action) -> bool {
        let Self { server, gate, lanes, .. } = self;
        let waits = gate.anybody_waits();
        let open = server.script.is_none();
        match action {
            Action::Tick => !self.is_due(setting),
            Action::ScriptBegins => open && server.begun < setting.scripts,
            Action::ScriptEnds => !open,
            Action::Arrives(conn) => self.spot(conn, |spot| spot == Spot::Line).is_some(),
            Action::Executes(conn) => open && self.spot(conn, |spot| spot == Spot::Socket).is_some(),
            Action::Hook(conn) => {
                server.is_busy(setting) && self.spot(conn, |spot| spot == Spot::Socket).is_some()
            }
            Action::Flush => {
                let out = |conn| self.spot(conn, |spot| matches!(spot, Spot::Out(_))).is_some();
                !server.is_stalled(setting) && (0..lanes.len()).any(out)
            }
            Action::Receives(conn) => {
                lanes[conn].flights.first().is_some_and(|flight| matches!(flight.spot, Spot::Back(_)))
            }
            Action::Sends(conn) => self.may_send(setting, conn),
            Action::Asks { conn, unit } => {
                let multi = lanes[conn].upcoming(setting, conn) == Some(Kind::Multi);
                (multi || !unit) && self.may_ask(setting, conn)
            }
            Action::Goes { conn, unit } => {
                let multi = lanes[conn].upcoming(setting, conn) == Some(Kind::Multi);
                (multi || !unit) && self.may_go(setting, conn)
            }
            Action::Stalls => gate.phase == Phase::Open && gate.scouts() && waits,
            Action::ReleasesAll => setting.long_line && gate.phase == Phase::Open && gate.scouts() && waits,
            Action::Scouts => gate.phase == Phase::Stalled && waits,
            Action::Tries => {
                gate.phase == Phase::Busy && waits && gate.leaders() < usize::from(setting.rules.leaders)
            }
            Action::LosesPatience => {
                let leads = |place: &Place| place.standing == Standing::Leader { overdue: false };
                waits && gate.places.iter().any(leads)
            }
            Action::HearsNothing => waits && gate.places.iter().any(|place| place.standing == Standing::Deaf),
            Action::Leaves(conn) => {
                let stays = !lanes[conn].gone && lanes[conn].upcoming(setting, conn).is_some();
                self.left < setting.leaving && stays
            }
        }
    }

    fn act(&mut self, setting: &Setting, action: Action) {
        match action {
            Action::Tick => self.tick(setting),
            Action::ScriptBegins => {
                self.server.begun += 1;
                self.server.script = Some(0);
            }
            Action::ScriptEnds => self.server.script = None,
            Action::Arrives(conn) => {
                if let Some(at) = self.spot(conn, |spot| spot == Spot::Line) {
                    self.lanes[conn].flights[at].spot = Spot::Socket;
                }
            }
            Action::Executes(conn) => {
                if let Some(at) = self.spot(conn, |spot| spot == Spot::Socket) {
                    self.handle(setting, conn, at);
                }
            }
            Action::Hook(conn) => self.hook(setting, conn),
            Action::Flush => self.flush(),
            Action::Receives(conn) => self.receive(setting, conn),
            Action::Sends(conn) => self.send_unasked(setting, conn, true, false),
            Action::Asks { conn, unit } => self.ask(setting, conn, unit),
            Action::Goes { conn, unit } => {
                self.lanes[conn].asked = true;
                self.send(setting, conn, false, unit);
            }
            Action::Stalls => {
                self.oracle.see(Sight::Stall);
                self.gate.phase = Phase::Stalled;
                self.gate.settle();
            }
            Action::ReleasesAll => while self.gate.release() {},
            Action::Scouts => {
                self.gate.wake(Standing::Scout, Standing::Alone);
            }
            Action::Tries => {
                self.gate.wake(Standing::Leader { overdue: false }, Standing::Deaf);
                self.oracle.expect(self.gate.leaders() <= 1, Fault::Leaders);
            }
            Action::LosesPatience => {
                self.oracle.see(Sight::Joined);
                self.gate.lose_patience();
                self.gate.wake(Standing::Leader { overdue: false }, Standing::Deaf);
            }
            Action::HearsNothing => {
                self.gate.end_episode();
                self.gate.settle();
            }
            Action::Leaves(conn) => {
                self.left += 1;
                self.lanes[conn].gone = true;
                self.make_way(setting, conn);
            }
        }
    }
}

impl Model for Setting {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let clients = self.clients.len();
        vec![State {
            server: Server::new(clients, self.accepted),
            gate: Gate::new(self),
            lanes: vec![Lane::new(self.accepted); clients],
            left: 0,
            oracle: Oracle::new(clients),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let of_all = [
            Action::Tick,
            Action::ScriptBegins,
            Action::ScriptEnds,
            Action::Flush,
            Action::Stalls,
            Action::ReleasesAll,
            Action::Scouts,
            Action::Tries,
            Action::LosesPatience,
            Action::HearsNothing,
        ];
        let of_one = |conn| {
            [
                Action::Arrives(conn),
                Action::Executes(conn),
                Action::Hook(conn),
                Action::Receives(conn),
                Action::Sends(conn),
                Action::Asks { conn, unit: false },
                Action::Asks { conn, unit: true },
                Action::Goes { conn, unit: false },
                Action::Goes { conn, unit: true },
                Action::Leaves(conn),
            ]
        };
        let all = of_all.into_iter().chain((0..state.lanes.len()).flat_map(of_one));
        actions.extend(all.filter(|&action| state.allows(self, action)));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.act(self, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
