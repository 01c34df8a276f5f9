//! A session between a client and a server that may send anything at any time. The shell keeps to its contract, and that
//! is all that is assumed.
//!
//! * Nothing panics or goes round and round.
//! * How the bytes of one read are cut matters neither to the client nor to the server nor to the gate. (If the server sends
//!   what is no RESP, the client may have got more of the frame in which that is seen, the more pieces it came in.)
//! * Where nothing is rejected, both sides get what the other sent, byte for byte.
//! * What goes to the client is in the order in which it came, and never the same twice.
//! * With nothing in flight no script is.
//! * What a session says of its own accord is bounded by what it was sent, and once nothing is open it keeps nothing.

use std::time::Duration;

use unbusy_core::resp::RequestScanner;
use unbusy_core::session::{Out, Pass, Piece, SessionError, Want};
use unbusy_core::{Cause, Event, Policy, Session, Time};

use super::input::{Cuts, Input, Text};
use super::shell::{LEASE, let_go};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

const COMMANDS: &[&str] = &[
    "GET k\r\n",
    "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    "*1\r\n$4\r\nPING\r\n",
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\na\r\n\r\n",
    "MULTI\r\n",
    "EXEC\r\n",
    "DISCARD\r\n",
    "WATCH k\r\n",
    "UNWATCH\r\n",
    "SELECT 3\r\n",
    "AUTH x\r\n",
    "HELLO 3\r\n",
    "EVAL s 0\r\n",
    "MODULE.COMMAND\r\n",
    "BLPOP k 0\r\n",
    "SUBSCRIBE a b\r\n",
    "PSUBSCRIBE a\r\n",
    "SSUBSCRIBE a\r\n",
    "UNSUBSCRIBE\r\n",
    "UNSUBSCRIBE a\r\n",
    "PUNSUBSCRIBE\r\n",
    "CLIENT REPLY OFF\r\n",
    "CLIENT REPLY ON\r\n",
    "CLIENT REPLY SKIP\r\n",
    "CLIENT CACHING YES\r\n",
    "ASKING\r\n",
    "MONITOR\r\n",
    "PSYNC ? -1\r\n",
    "REPLCONF ACK 1\r\n",
    "REPLCONF GETACK *\r\n",
    "SCRIPT KILL\r\n",
    "QUIT\r\n",
    "RESET\r\n",
    "\r\n",
    "*0\r\n",
    "*2\r\n$3\r\nGET\r\n$20000\r\n",
    "*11\r\n",
    "*1\r\n+",
];

/// A rejection longer than any that is read as a whole.
const LONG: &str = concat!(
    "-BUSY 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    " 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    " 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    " 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    " 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
    " 0123456789\r\n",
);

const REPLIES: &[&str] = &[
    "+OK\r\n",
    "+QUEUED\r\n",
    "+PONG\r\n",
    ":1\r\n",
    "$1\r\nx\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*1\r\n:1\r\n",
    "*2\r\n:1\r\n$1\r\nx\r\n",
    "_\r\n",
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    "-BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.\r\n",
    "-BUSY something\r\n",
    "-LOADING Redis is loading the dataset in memory\r\n",
    "-EXECABORT Transaction discarded because of: BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    "-EXECABORT Transaction discarded because of previous errors.\r\n",
    "-ERR EXEC without MULTI\r\n",
    "-ERR no\r\n",
    "-NOAUTH Authentication required.\r\n",
    "-NOPERM no\r\n",
    "-MOVED 1 a:1\r\n",
    "!5\r\nERR x\r\n",
    "%1\r\n+proto\r\n:3\r\n",
    "|1\r\n+ttl\r\n:10\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    "*3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:2\r\n",
    "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n",
    "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
    ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n",
    ">2\r\n$10\r\ninvalidate\r\n_\r\n",
    "+1699999999.123456 [0 127.0.0.1:6379] \"GET\" \"k\"\r\n",
    "+FULLRESYNC x 0\r\n",
    "\n",
    LONG,
];

pub fn check(bytes: &[u8]) {
    let seed = bytes.iter().fold(0, |seed: u64, &byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut whole = Line::new(bytes, Cuts::Nowhere);
    let mut cut = [Line::new(bytes, Cuts::Everywhere), Line::new(bytes, Cuts::Somewhere(seed))];
    while whole.step() {
        for line in &mut cut {
            assert!(line.step(), "{whole:?}\n{line:?}");
            line.assert_like(&whole);
        }
    }
    whole.assert_honest();
}

/// What a session told in one step.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    proof: Option<Time>,
    rejection: Option<(Cause, Time)>,
    rejected: u64,
    script_answered: bool,
    given_up: u64,
    events: Vec<Event>,
    to_client: Text,
    error: Option<SessionError>,
}

#[derive(Debug)]
struct Line<'a> {
    input: Input<'a>,
    cuts: Cuts,
    session: Session,
    now: Time,
    told: Told,
    over: bool,
    gone: bool,
    /// The session sent a PING of its own, or replies were its own.
    spoke: bool,
    from_client: Text,
    from_server: Text,
    to_client: Text,
    to_server: Text,
}

impl<'a> Line<'a> {
    fn new(bytes: &'a [u8], cuts: Cuts) -> Self {
        let mut input = Input::new(bytes);
        let kind = input.byte();
        let policy = Policy {
            max_wait: Duration::from_millis(if kind & 1 == 0 { 100 } else { u64::from(kind >> 7) }),
            loading: kind & 2 != 0,
            strict: kind & 4 == 0,
            one_read: kind & 8 != 0,
            ..Policy::default()
        };
        Self {
            input,
            cuts,
            session: Session::new(policy),
            now: Time::from_nanos(1_000_000_000),
            told: Told::default(),
            over: false,
            gone: false,
            spoke: false,
            from_client: Text::default(),
            from_server: Text::default(),
            to_client: Text::default(),
            to_server: Text::default(),
        }
    }

    /// One event. `false`: there are no more.
    fn step(&mut self) -> bool {
        self.told = Told::default();
        if self.over || self.input.is_empty() {
            return false;
        }
        let event = self.input.byte();
        let pass = if event < 128 { Pass::One } else { Pass::Speak };
        match event % 16 {
            0..=2 => {
                let command = COMMANDS[self.input.below(COMMANDS.len())];
                self.client(command.as_bytes());
            }
            3 => {
                let bytes = self.input.some();
                self.client(bytes);
            }
            4..=6 => {
                let reply = REPLIES[self.input.below(REPLIES.len())];
                self.server(reply.as_bytes());
            }
            7 => {
                let bytes = self.input.some();
                self.server(bytes);
            }
            8 => {
                // Several at once, so that what is cut is more than a frame.
                let count = self.input.below(8);
                let bytes: Vec<_> = (0..count).map(|_| REPLIES[self.input.below(REPLIES.len())]).collect();
                self.server(bytes.concat().as_bytes());
            }
            9 => self.now = self.now + Duration::from_millis(1 << self.input.below(10)),
            10 => self.send(pass),
            11 => self.send(Pass::Free),
            12 => {
                let count = usize::from(self.input.byte());
                self.write(count);
            }
            13 => self.write(usize::MAX),
            14 => self.budget(),
            _ => self.other(),
        }
        self.over |= self.session.is_refused();
        let counts = self.session.scripts_in_flight() > 0;
        assert!(!counts || !self.session.is_idle(), "a script is waited for that is not in flight: {self:?}");
        true
    }

    fn client(&mut self, bytes: &[u8]) {
        if self.gone || !self.session.wants_read() {
            return;
        }
        self.from_client.0.extend_from_slice(bytes);
        for piece in self.cuts.pieces(bytes) {
            let mut out = Out::default();
            let read = self.session.client_bytes(piece, self.now, &mut out);
            self.note(&[], &out, read.err());
        }
    }

    fn server(&mut self, bytes: &[u8]) {
        self.from_server.0.extend_from_slice(bytes);
        for piece in self.cuts.pieces(bytes) {
            let mut out = Out::default();
            let read = self.session.server_bytes(piece, self.now, &mut out);
            self.note(piece, &out, read.err());
            if self.over {
                return;
            }
        }
    }

    fn note(&mut self, read: &[u8], out: &Out, error: Option<SessionError>) {
        let mut passed = 0;
        for piece in out.pieces() {
            if let Piece::Read(range) = piece {
                assert!(passed <= range.start, "passed on twice, or in another order");
                passed = range.end;
            }
        }
        let bytes = out.to_client(read);
        self.to_client.0.extend_from_slice(&bytes);
        let told = &mut self.told;
        told.to_client.0.extend(bytes);
        told.proof = told.proof.max(out.proof);
        told.rejection = told.rejection.or(out.rejection);
        told.rejected += out.rejected;
        told.script_answered |= out.script_answered;
        told.given_up += out.given_up;
        told.events.extend(out.events.iter().cloned());
        told.error = told.error.or(error);
        self.over |= error.is_some();
    }

    /// The gate lets the session go.
    fn send(&mut self, pass: Pass) {
        self.spoke |= let_go(&mut self.session, pass, self.now) && self.session.outgoing().starts_with(PING);
    }

    fn write(&mut self, most: usize) {
        let count = self.session.outgoing().len().min(most);
        if count == 0 {
            return;
        }
        self.to_server.0.extend_from_slice(&self.session.outgoing()[..count]);
        let mut out = Out::default();
        self.session.wrote(count, &mut out);
        self.note(&[], &out, None);
    }

    /// Time for those who wait.
    fn budget(&mut self) {
        let episode = (self.input.byte() & 1 == 1).then_some(Time::from_nanos(1_000_000_000));
        if !matches!(self.session.want(), Want::Gate(_)) || !self.session.is_idle() {
            return;
        }
        self.session.wait_began(self.now);
        if self.session.deadline().is_some_and(|deadline| deadline <= self.now) {
            let mut out = Out::default();
            self.session.expire(episode, self.now, &mut out);
            self.note(&[], &out, None);
        }
    }

    fn other(&mut self) {
        match self.input.below(8) {
            0 => self.session.confirm_rejection(),
            1 if self.session.doubt().is_some() => {
                let mut out = Out::default();
                self.session.deny_rejection(self.now, &mut out);
                self.note(&[], &out, None);
            }
            2 => self.session.take_back(),
            3 if self.session.is_poisoned() => self.session.unpoison(),
            4 if !self.gone => {
                self.gone = true;
                self.session.client_gone();
            }
            5 => {
                self.gone = true;
                self.session.client_lost();
                if self.session.is_idle() {
                    self.session.abandon();
                }
            }
            6 if self.gone && self.session.is_idle() => self.session.abandon(),
            _ => {}
        }
    }

    /// The bytes came in other pieces, and that made no difference.
    fn assert_like(&self, whole: &Self) {
        let (mine, other) = (&self.told, &whole.told);
        assert_eq!((mine.error, self.over), (other.error, whole.over), "{whole:?}\n{self:?}");
        if mine.error.is_some() {
            assert!(mine.to_client.0.starts_with(&other.to_client.0), "{whole:?}\n{self:?}");
            return;
        }
        assert_eq!(mine, other);
        assert_eq!(self.session.outgoing(), whole.session.outgoing());
        assert_eq!(self.facts(), whole.facts(), "{whole:?}\n{self:?}");
    }

    /// All that the shell may ask.
    fn facts(&self) -> impl PartialEq + std::fmt::Debug {
        let session = &self.session;
        (
            (session.want(), session.deadline(), session.doubt(), session.scripts_in_flight()),
            [session.is_idle(), session.waits(), session.is_quiet(), session.has_unsent()],
            [session.is_tunnel(), session.is_refused(), session.is_poisoned(), session.wants_read()],
            (session.needs_lease(), session.may_join(LEASE, self.now)),
        )
    }

    fn assert_honest(&self) {
        /// Longer than what a session says itself in place of a reply.
        const OWN_REPLY_BYTES: usize = 100;
        /// More than a session is long when it is printed, the beginning of an error included.
        const EMPTY_SESSION_BYTES: usize = 8192;
        let longest = self.from_server.0.split(|&byte| byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
        // The shortest command is a line feed.
        let own = self.from_client.0.len() * (longest + OWN_REPLY_BYTES);
        assert!(self.to_client.0.len() <= self.from_server.0.len() + own, "{self:?}");
        if !self.is_meddled_with() {
            assert!(self.from_client.0.starts_with(&self.to_server.0), "{self:?}");
            assert!(self.from_server.0.starts_with(&self.to_client.0), "{self:?}");
            let missing = &self.from_server.0[self.to_client.0.len()..];
            // An error is looked at before it is passed on.
            assert!(self.over || missing.is_empty() || missing[0] == b'-', "{self:?}");
        }
        let quiet = self.session.is_quiet() && self.session.is_idle() && !self.session.is_tunnel();
        if quiet && !self.keeps() {
            let kept = format!("{:?}", self.session).len();
            assert!(kept < EMPTY_SESSION_BYTES + 8 * (longest + self.unfinished()), "{self:?}");
        }
    }

    /// Whether something was said or left out that is not simply passed on.
    fn is_meddled_with(&self) -> bool {
        let rejected = ["BUSY", "LOADING", "EXECABORT", "NOAUTH"];
        let rejected = rejected.iter().any(|text| contains(&self.from_server.0, text));
        rejected || self.spoke || contains(&self.from_client.0, "REPLY")
    }

    /// The length of the command that has begun.
    fn unfinished(&self) -> usize {
        let mut rest = self.from_client.0.as_slice();
        while let Ok(Some(length)) = RequestScanner::default().scan(rest) {
            rest = &rest[length..];
        }
        rest.len()
    }

    /// Whether commands may be kept that are answered.
    fn keeps(&self) -> bool {
        ["MULTI", "ASKING", "CACHING"].iter().any(|name| contains(&self.from_client.0, name))
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}
