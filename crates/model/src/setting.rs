//! What is explored: who sends what, what the world may do, and which rules unbusy keeps.

/// A command as far as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Rejected by a busy server; it writes. Outside a transaction it changes what others watch.
    Plain,
    /// Executed by a busy server as well.
    Watch,
    /// Executed by a busy server as well.
    Multi,
    /// A busy server discards the transaction.
    Exec,
}

/// The rules of unbusy. [`Rules::REAL`] are those that are built; each field turned round is a mistake that one could make.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "rules that are independent of one another")]
pub struct Rules {
    /// Commands in flight on a connection, at most.
    pub window: u8,
    /// The same before anything has come from the server.
    pub first_window: u8,
    /// Whether a second command goes only under a lease, and from when that runs.
    pub lease: Anchor,
    /// Nothing follows what is in flight for the width of a lease or longer, or what went without one.
    pub age: bool,
    /// A connection whose command was rejected awaits the replies to all in flight, and an executed command among them
    /// is a hole: the rejected ones are given up. Otherwise they are sent again all the same.
    pub strict: bool,
    /// While anybody waits, others stand behind.
    pub queue: bool,
    /// How many may try at a time while the server is busy.
    pub leaders: u8,
    /// What becomes of a transaction under WATCH that was discarded.
    pub watched: Watched,
    /// The gate hears of a discarded transaction only if the server is busy now.
    pub told_busy: bool,
    /// What a proof tells of another command depends on when it was heard, too.
    pub heard: bool,
    /// Who has nothing left to send does not wait at the gate.
    pub makes_way: bool,
}

/// When a lease begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// When the command was sent that proves it.
    Sent,
    /// When the proof arrived.
    Reply,
    /// Always: there is no lease.
    None,
}

/// What becomes of a transaction under WATCH that the server discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Its client is told that a watched key changed.
    Null,
    /// It is sent again from MULTI.
    Replayed,
    /// It is sent again from WATCH.
    WatchedAgain,
}

impl Rules {
    /// What is built.
    pub const REAL: Self = Self {
        window: 3,
        first_window: 2,
        lease: Anchor::Sent,
        age: true,
        strict: true,
        queue: true,
        leaders: 1,
        watched: Watched::Null,
        told_busy: true,
        heard: true,
        makes_way: true,
    };
}

/// What is explored. Times are in ticks.
#[derive(Debug, Clone)]
pub struct Setting {
    /// What unbusy does.
    pub rules: Rules,
    /// What each client sends.
    pub clients: Vec<Vec<Kind>>,
    /// How long a script runs before the server answers BUSY.
    pub threshold: u8,
    /// What unbusy takes for the threshold.
    pub assumed: u8,
    /// A lease is so many times shorter than the threshold.
    pub fraction: u8,
    /// Assumption A1: what is sent under a lease is in the server's buffer after so long, at most.
    pub line: u8,
    /// Fact F3: how many commands of a client a busy server reads at once.
    pub hook: u8,
    /// Fact F3: how many fewer if it has to accept the connection first.
    pub accepting: u8,
    /// It has accepted all connections before.
    pub accepted: bool,
    /// How many scripts run, at most.
    pub scripts: u8,
    /// How many clients leave, at most.
    pub leaving: u8,
    /// Others need not wait until a scout is overdue.
    pub long_line: bool,
}

impl Setting {
    /// The smallest world in which all rules matter: one script, a threshold of two leases, and a lease of one tick.
    pub fn new(rules: Rules, clients: &[&[Kind]]) -> Self {
        Self {
            rules,
            clients: clients.iter().map(|client| client.to_vec()).collect(),
            threshold: 2,
            assumed: 2,
            fraction: 2,
            line: 1,
            hook: rules.window,
            accepting: 1,
            accepted: true,
            scripts: 1,
            leaving: 0,
            long_line: false,
        }
    }

    /// Another threshold, known to unbusy, a lease so long, and the longest line that assumption A1 allows.
    #[must_use]
    pub fn with_threshold(self, threshold: u8, lease: u8) -> Self {
        let (fraction, line) = (threshold / lease, threshold - lease);
        Self { threshold, assumed: threshold, fraction, line, ..self }
    }

    /// So many scripts.
    #[must_use]
    pub fn with_scripts(self, scripts: u8) -> Self {
        Self { scripts, ..self }
    }

    /// From this age on all moments are alike.
    pub(crate) fn old(&self) -> u8 {
        self.threshold.max(self.assumed)
    }

    pub(crate) fn kind(&self, conn: usize, at: u8) -> Kind {
        self.clients[conn][usize::from(at)]
    }

    /// The transaction that a command belongs to: MULTI and EXEC.
    pub(crate) fn transaction(&self, conn: usize, at: u8) -> Option<(u8, u8)> {
        let (client, at) = (&self.clients[conn], usize::from(at));
        let multi = client[..=at].iter().rposition(|&kind| kind == Kind::Multi)?;
        let exec = multi + client[multi..].iter().position(|&kind| kind == Kind::Exec)?;
        (at <= exec).then_some((multi as u8, exec as u8))
    }
}
