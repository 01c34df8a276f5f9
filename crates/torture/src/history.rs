//! What every client asked for and was told.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// What a client asks for. Each request carries a token of its own, by which its execution is found in the data; but for
/// [`Act::Count`] and [`Act::Take`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// `RPUSH list token`.
    Push { list: String },
    /// A slow script or function that does the same at its end.
    Script { list: String, millis: u64, function: bool },
    /// `INCR counter`.
    Count { counter: String },
    /// Money moves and the token goes into both ledgers, in MULTI and EXEC.
    Transfer(Transfer),
    /// The same, but the new balances are calculated by the client under WATCH.
    Watched(Transfer),
    /// `PUBLISH channel token`.
    Publish { channel: String },
    /// `RPUSH queue token`, for a consumer to take.
    Enqueue,
    /// `BLPOP queue`.
    Take,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged, with the number that the server answered, if it was one.
    Done(Option<i64>),
    /// The answer to [`Act::Take`].
    Took(Option<String>),
    /// An error, or null for EXEC: it must not have been executed.
    Refused(String),
    /// Nobody told: the connection broke.
    Unknown,
    /// The client left while its command was certainly held: it must never be executed.
    GivenUp,
}

#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) act: Act,
    pub(crate) outcome: Outcome,
    /// In microseconds since the start.
    pub(crate) sent: u64,
    pub(crate) answered: u64,
}

/// All that was sent on one connection, in order. A client that connects again gets a new line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) id: u32,
    pub(crate) client: String,
    /// Whether its budget is so long that no BUSY may reach it.
    pub(crate) patient: bool,
    pub(crate) ops: Vec<Op>,
    /// What the client itself found wrong.
    pub(crate) complaints: Vec<String>,
}

/// What one subscribed connection heard.
#[derive(Debug, Clone)]
pub(crate) struct Hearing {
    pub(crate) client: String,
    pub(crate) channel: String,
    /// When the subscription was confirmed.
    pub(crate) from: u64,
    pub(crate) heard: Vec<String>,
}

/// The token of an operation: the line and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) line: u32,
    pub(crate) place: u32,
}

impl Token {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (line, place) = text.split_once(':')?;
        Some(Self { line: line.parse().ok()?, place: place.parse().ok()? })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.place)
    }
}

/// How many operations had which outcome.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) given_up: AtomicU64,
}

impl Tally {
    fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Done(_) | Outcome::Took(_) => &self.done,
            Outcome::Refused(_) => &self.refused,
            Outcome::Unknown => &self.unknown,
            Outcome::GivenUp => &self.given_up,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// Collects what the clients of one round record; they write while it is being read.
pub(crate) struct Recorder {
    start: Instant,
    first: u32,
    lines: Mutex<Vec<Arc<Mutex<Line>>>>,
    hearings: Mutex<Vec<Arc<Mutex<Hearing>>>>,
    tally: Arc<Tally>,
}

impl Recorder {
    /// The numbers of lines begin at `first`, so that those of different rounds differ.
    pub(crate) fn new(first: u32, tally: Arc<Tally>) -> Self {
        let (lines, hearings) = (Mutex::default(), Mutex::default());
        Self { start: Instant::now(), first, lines, hearings, tally }
    }

    pub(crate) fn line(self: &Arc<Self>, client: &str, patient: bool) -> Pen {
        let mut lines = lock(&self.lines);
        let id = self.first + lines.len() as u32;
        let line = Line { id, client: client.into(), patient, ops: Vec::new(), complaints: Vec::new() };
        let line = Arc::new(Mutex::new(line));
        lines.push(Arc::clone(&line));
        Pen { id, line, recorder: Arc::clone(self) }
    }

    pub(crate) fn hearing(&self, client: &str, channel: &str) -> Ear {
        let from = self.now();
        let hearing = Hearing { client: client.into(), channel: channel.into(), from, heard: Vec::new() };
        let hearing = Arc::new(Mutex::new(hearing));
        lock(&self.hearings).push(Arc::clone(&hearing));
        Ear(hearing)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// What has been recorded, and the number of the first line that is free. What nobody has answered counts as unknown.
    pub(crate) fn history(&self) -> History {
        let lines: Vec<_> = lock(&self.lines).iter().map(|line| lock(line).clone()).collect();
        for op in lines.iter().flat_map(|line| &line.ops) {
            self.tally.count(&op.outcome);
        }
        let next = self.first + lines.len() as u32;
        let hearings = lock(&self.hearings).iter().map(|hearing| lock(hearing).clone()).collect();
        History { lines, hearings, next }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        let done = |op: &&Op| matches!(op.outcome, Outcome::Done(_) | Outcome::Took(_));
        lock(&self.lines).iter().map(|line| lock(line).ops.iter().filter(done).count() as u64).sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) lines: Vec<Line>,
    pub(crate) hearings: Vec<Hearing>,
    pub(crate) next: u32,
}

/// Writes one line.
#[derive(Clone)]
pub(crate) struct Pen {
    id: u32,
    line: Arc<Mutex<Line>>,
    recorder: Arc<Recorder>,
}

impl Pen {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// To be called before the request is sent.
    pub(crate) fn ask(&self, act: Act) -> Token {
        let sent = self.recorder.now();
        let mut line = lock(&self.line);
        line.ops.push(Op { act, outcome: Outcome::Unknown, sent, answered: sent });
        Token { line: self.id, place: line.ops.len() as u32 - 1 }
    }

    pub(crate) fn tell(&self, token: Token, outcome: Outcome) {
        let answered = self.recorder.now();
        let op = &mut lock(&self.line).ops[token.place as usize];
        (op.outcome, op.answered) = (outcome, answered);
    }

    pub(crate) fn complain(&self, text: impl Into<String>) {
        lock(&self.line).complaints.push(text.into());
    }
}

/// Writes down what one subscribed connection hears.
pub(crate) struct Ear(Arc<Mutex<Hearing>>);

impl Ear {
    pub(crate) fn hear(&self, message: String) {
        lock(&self.0).heard.push(message);
    }
}

/// What a client recorded before it panicked counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
