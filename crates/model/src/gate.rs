//! The gate and the lease, as in the engine's `gate.rs` and `lease.rs`.

use crate::setting::{Anchor, Setting};

/// Where the gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Open, or unproven if no lease runs.
    Open,
    /// A scout is overdue.
    Stalled,
    /// The server said that it is busy.
    Busy,
}

/// How a connection stands at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Until it is let go.
    Waiting {
        /// Its command can speak for the server.
        scout: bool,
    },
    /// Let go to find out whether the server is open.
    Scout,
    /// Let go to find out whether the server is still busy.
    Leader {
        /// Another one may be let go.
        overdue: bool,
    },
    /// A leader whose command cannot speak for the server.
    Deaf,
    /// Let go with a command that cannot speak for the server.
    Alone,
    /// Let go once, but nobody waits for its answer any more.
    Lapsed,
}

/// A connection's place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose it is.
    pub conn: usize,
    /// As what.
    pub standing: Standing,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gate {
    /// Where the gate stands.
    pub phase: Phase,
    /// What is taken for the server's threshold.
    pub threshold: u8,
    /// How long ago the command of the newest proof was sent.
    pub proved: u8,
    /// For how long the lease still runs.
    pub lease: u8,
    /// The server is known not to have been busy since some moment.
    pub unbroken: bool,
    /// Everybody who waits or was let go and is not answered, in the order of their tickets.
    pub places: Vec<Place>,
}

impl Gate {
    pub(crate) fn new(setting: &Setting) -> Self {
        let (threshold, proved) = (setting.assumed, setting.old());
        Self { phase: Phase::Open, threshold, proved, lease: 0, unbroken: false, places: Vec::new() }
    }

    pub(crate) fn standing(&self, conn: usize) -> Option<Standing> {
        self.places.iter().find(|place| place.conn == conn).map(|place| place.standing)
    }

    fn place(&mut self, conn: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.conn == conn)
    }

    /// How long a lease runs: `Lease::width`.
    pub(crate) fn width(&self, setting: &Setting) -> u8 {
        self.threshold / setting.fraction
    }

    /// Whether a connection may send without asking: `Gate::free_until`.
    pub(crate) fn is_free(&self, setting: &Setting) -> bool {
        let rules = &setting.rules;
        let open = self.phase == Phase::Open && !(rules.queue && self.anybody_waits());
        open && (self.lease > 0 || rules.lease == Anchor::None)
    }

    pub(crate) fn anybody_waits(&self) -> bool {
        self.places.iter().any(|place| matches!(place.standing, Standing::Waiting { .. }))
    }

    pub(crate) fn scouts(&self) -> bool {
        self.places.iter().any(|place| place.standing == Standing::Scout)
    }

    /// Leaders whose answer is not overdue.
    pub(crate) fn leaders(&self) -> usize {
        let leads = |standing| matches!(standing, Standing::Leader { overdue: false } | Standing::Deaf);
        self.places.iter().filter(|place| leads(place.standing)).count()
    }

    pub(crate) fn enqueue(&mut self, conn: usize, standing: Standing) {
        self.places.push(Place { conn, standing });
    }

    /// Who was let go before an episode began or ended waits again: `Gate::ask_again`.
    pub(crate) fn ask_again(&mut self, conn: usize, scout: bool) {
        if let Some(place) = self.place(conn) {
            place.standing = Standing::Waiting { scout };
        }
    }

    /// The leader's answer is overdue.
    pub(crate) fn lose_patience(&mut self) {
        for place in &mut self.places {
            if place.standing == (Standing::Leader { overdue: false }) {
                place.standing = Standing::Leader { overdue: true };
            }
        }
    }

    /// A command was answered, and not rejected: `Gate::answered`. `sent` is how long ago it was sent, and `overtaken`
    /// are connections whose scouts were sent no later.
    pub(crate) fn answered(
        &mut self,
        setting: &Setting,
        conn: Option<usize>,
        proof: Option<u8>,
        overtaken: &[usize],
    ) {
        let role = conn.and_then(|conn| self.take(conn));
        let has_place = role.is_some();
        for place in &mut self.places {
            if place.standing == Standing::Scout && overtaken.contains(&place.conn) {
                place.standing = Standing::Lapsed;
            }
        }
        let led = matches!(role, Some(Standing::Leader { .. } | Standing::Deaf));
        match self.phase {
            Phase::Open => {}
            Phase::Stalled => self.phase = Phase::Open,
            Phase::Busy if led && proof.is_some() => self.end_episode(),
            Phase::Busy => return self.settle(),
        }
        if let Some(sent) = proof {
            self.prove(setting, sent);
            // `Gate::prove`: every answer lets two more go.
            if has_place {
                self.release();
                self.release();
            }
        }
        self.settle();
    }

    /// `Lease::prove`.
    fn prove(&mut self, setting: &Setting, sent: u8) {
        let sent = if setting.rules.lease == Anchor::Reply { 0 } else { sent };
        self.lease = self.lease.max(self.width(setting).saturating_sub(sent));
        self.proved = self.proved.min(sent);
    }

    /// A command was rejected: `Gate::rejected`. `ask`: it waits, and whether it can speak for the server.
    pub(crate) fn rejected(&mut self, conn: usize, ask: Option<bool>, stale: bool) {
        if !stale && self.phase != Phase::Busy {
            self.begin_episode();
        }
        match (ask, self.place(conn)) {
            (Some(scout), Some(place)) => place.standing = Standing::Waiting { scout },
            (Some(scout), None) => self.enqueue(conn, Standing::Waiting { scout }),
            (None, _) => drop(self.take(conn)),
        }
        self.settle();
    }

    /// Whether a rejection is older than the newest proof: `Lease::outdates`.
    pub(crate) const fn outdates(&self, sent: u8) -> bool {
        sent >= self.proved && self.proved < self.threshold
    }

    /// A rejection shows that the threshold is smaller: `Lease::learn`.
    pub(crate) fn learn(&mut self) -> bool {
        let learns = self.proved < self.threshold;
        if learns {
            self.threshold = self.proved.max(1);
        }
        learns
    }

    fn begin_episode(&mut self) {
        self.phase = Phase::Busy;
        self.lease = 0;
        self.unbroken = false;
        self.lapse();
    }

    /// The server is open, or taken for it: `Gate::end_episode`.
    pub(crate) fn end_episode(&mut self) {
        self.phase = Phase::Open;
        self.lapse();
    }

    /// `Gate::out` is cleared.
    fn lapse(&mut self) {
        for place in &mut self.places {
            if !matches!(place.standing, Standing::Waiting { .. }) {
                place.standing = Standing::Lapsed;
            }
        }
    }

    /// Its ticket is given back: answered, or gone.
    pub(crate) fn take(&mut self, conn: usize) -> Option<Standing> {
        let at = self.places.iter().position(|place| place.conn == conn)?;
        Some(self.places.remove(at).standing)
    }

    /// `Gate::release`.
    pub(crate) fn release(&mut self) -> bool {
        let first = self.places.iter_mut().find(|place| matches!(place.standing, Standing::Waiting { .. }));
        let Some(place) = first else { return false };
        let scout = place.standing == Standing::Waiting { scout: true };
        place.standing = if scout { Standing::Scout } else { Standing::Alone };
        true
    }

    /// Lets the first go that can speak for the server, or else the first: `Gate::tick_stalled`, `Gate::tick_busy`.
    pub(crate) fn wake(&mut self, as_speaker: Standing, otherwise: Standing) -> bool {
        let speaks = |place: &Place| place.standing == Standing::Waiting { scout: true };
        let speaker = self.places.iter().position(speaks);
        let first =
            || self.places.iter().position(|place| matches!(place.standing, Standing::Waiting { .. }));
        let Some(at) = speaker.or_else(first) else { return false };
        self.places[at].standing = if speaker.is_some() { as_speaker } else { otherwise };
        true
    }

    /// What `Gate::tick` does at once.
    pub(crate) fn settle(&mut self) {
        match self.phase {
            Phase::Open => while !self.scouts() && self.release() {},
            Phase::Stalled => {
                let speaks = |place: &Place| place.standing == Standing::Waiting { scout: true };
                if !self.scouts() && self.places.iter().any(speaks) {
                    self.wake(Standing::Scout, Standing::Alone);
                }
            }
            Phase::Busy => {}
        }
    }

    pub(crate) fn tick(&mut self, setting: &Setting) {
        self.lease = self.lease.saturating_sub(1);
        self.proved = (self.proved + 1).min(setting.old());
    }
}
