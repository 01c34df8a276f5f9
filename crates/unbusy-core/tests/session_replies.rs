//! A session alone, byte for byte: which bytes of the server belong to which command, what the client gets, what is
//! kept back, and what goes to the server. The rows are those of the servers' reply protocol with its exceptions.
use proptest::prelude::*;
use simulation::{BUSY, cmd, parse};
use unbusy_core::resp::ReplyError;
use unbusy_core::session::{Out, Pass, Piece, SessionError, Want};
use unbusy_core::{Policy, Session, Time};

const NOW: Time = Time::from_nanos(1_000_000_000);

/// A session whose gate is always open, unless a command is held.
struct Line {
    session: Session,
    /// Bytes for the server that nobody has looked at yet.
    sent: Vec<u8>,
    got: Vec<u8>,
}

impl Line {
    fn new() -> Self {
        Self { session: Session::new(Policy::default()), sent: Vec::new(), got: Vec::new() }
    }

    fn client(&mut self, bytes: &[u8]) {
        let mut out = Out::default();
        self.session.client_bytes(bytes, NOW, &mut out).expect("the client is welcome");
        self.got.extend(out.to_client(&[]));
        self.pump();
    }

    fn pump(&mut self) {
        while !self.session.is_held() && self.session.want() != Want::Nothing {
            self.go();
        }
    }

    /// Sends, held or not.
    fn go(&mut self) {
        self.session.send(Pass::Free, NOW);
        while !self.session.outgoing().is_empty() {
            self.sent.extend_from_slice(self.session.outgoing());
            let mut out = Out::default();
            self.session.wrote(self.session.outgoing().len(), &mut out);
            self.got.extend(out.to_client(&[]));
        }
    }

    fn server(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut out = Out::default();
        let read = self.session.server_bytes(bytes, NOW, &mut out);
        self.got.extend(out.to_client(bytes));
        self.pump();
        read
    }

    /// The commands that went to the server since the last call.
    fn take_sent(&mut self) -> String {
        let mut words = Vec::new();
        while let Some((command, length)) = parse(&self.sent) {
            self.sent.drain(..length);
            words.push(command.join(" "));
        }
        words.join("; ")
    }

    fn take_got(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.got)).expect("the rows are text")
    }
}

/// What happens next in a row.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The client sends these commands.
    Ask(&'static [&'static str]),
    /// The client sends these bytes.
    Raw(&'static str),
    /// These commands went to the server.
    Sent(&'static str),
    /// The server says this, cut anywhere.
    Say(&'static str),
    /// The client got this since the last look, and nothing else.
    Got(&'static str),
    /// The gate lets a held command go.
    Go,
    /// Nothing is in flight, nothing is owed.
    Quiet,
    Held,
}

use Step::{Ask, Go, Got, Held, Quiet, Raw, Say, Sent};

fn run(name: &str, steps: &[Step], mut say: impl FnMut(&mut Line, &str)) {
    let mut line = Line::new();
    for (at, step) in steps.iter().enumerate() {
        let context = format!("{name}, step {at}");
        match *step {
            Ask(commands) => line.client(&commands.iter().flat_map(|text| cmd(text)).collect::<Vec<_>>()),
            Raw(bytes) => line.client(bytes.as_bytes()),
            Sent(commands) => assert_eq!(line.take_sent(), commands, "{context}"),
            Say(bytes) => say(&mut line, bytes),
            Got(bytes) => assert_eq!(line.take_got(), bytes, "{context}"),
            Go => line.go(),
            Quiet => assert!(line.session.is_quiet() && line.session.is_idle(), "{context}: not quiet"),
            Held => assert!(line.session.is_held(), "{context}: not held"),
        }
    }
}

const BUSY_LINE: &str = BUSY;
const ABORT: &str = "-EXECABORT Transaction discarded because of: BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const ABORT_EARLIER: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const NO_MULTI: &str = "-ERR EXEC without MULTI\r\n";
const SUB_A: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
const SUB_B: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";
const SUB_AB: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";
const UNSUB_BA: &str =
    "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n";
const UNSUB_NONE: &str = "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n";
const MESSAGE: &str = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
const PUSH_A: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
const PUSH_AB: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n";
const PUSH_UNSUB_BA: &str =
    ">3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n";
const PUSH_MESSAGE: &str = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
const HELLO: &str = "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n";
const MONITORED: &str = "+1699999999.123456 [0 127.0.0.1:6379] \"GET\" \"k\"\r\n";
const INVALIDATE: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
const PONG: &str = "+PONG\r\n";
const OK: &str = "+OK\r\n";

const ROWS: &[(&str, &[Step])] = &[
    (
        "one confirmation per name",
        &[
            Ask(&["SUBSCRIBE a b", "PING"]),
            Sent("SUBSCRIBE a b; PING"),
            Say(SUB_A),
            Say(SUB_B),
            Say("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Got(
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "one confirmation per name in RESP3",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Ask(&["SUBSCRIBE a b", "PING"]),
            Say(PUSH_AB),
            Got(
                "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
            ),
            Say(PONG),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "without names one per subscription, in any order",
        &[
            Ask(&["SUBSCRIBE a b", "UNSUBSCRIBE", "GET k"]),
            Say(SUB_AB),
            Say(UNSUB_BA),
            Say("$1\r\nv\r\n"),
            Got(
                "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n$1\r\nv\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "without names in RESP3",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Got(HELLO),
            Ask(&["SUBSCRIBE a b", "UNSUBSCRIBE", "GET k"]),
            Say(PUSH_AB),
            Say(PUSH_MESSAGE),
            Say(PUSH_UNSUB_BA),
            Got(
                ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n",
            ),
            Say("$1\r\nv\r\n"),
            Got("$1\r\nv\r\n"),
            Quiet,
        ],
    ),
    (
        "without subscriptions one with a null name",
        &[Ask(&["UNSUBSCRIBE", "PING"]), Say(UNSUB_NONE), Got(UNSUB_NONE), Say(PONG), Got(PONG), Quiet],
    ),
    (
        "a rejected SUBSCRIBE has one reply, and is held",
        &[
            Ask(&["SUBSCRIBE a b"]),
            Sent("SUBSCRIBE a b"),
            Say(BUSY_LINE),
            Got(""),
            Held,
            Go,
            Sent("SUBSCRIBE a b"),
            Say(SUB_AB),
            Got(SUB_AB),
            Quiet,
        ],
    ),
    (
        "a refused SUBSCRIBE has one reply",
        &[
            Ask(&["SUBSCRIBE a b", "PING"]),
            Say("-NOPERM no\r\n"),
            Say(PONG),
            Got("-NOPERM no\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "messages between replies are none",
        &[
            Ask(&["SUBSCRIBE a b"]),
            Say(SUB_AB),
            Got(SUB_AB),
            Say(MESSAGE),
            Got(MESSAGE),
            Ask(&["PING"]),
            Say(MESSAGE),
            Say("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Got("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Quiet,
        ],
    ),
    (
        "a push may come before or behind the reply that caused it",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Got(HELLO),
            Ask(&["SUBSCRIBE a b"]),
            Say(PUSH_AB),
            Got(PUSH_AB),
            Ask(&["PUBLISH a hi", "PUBLISH a hi", "GET k"]),
            Say(PUSH_MESSAGE),
            Say(":1\r\n"),
            Got(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n:1\r\n"),
            Say(":1\r\n"),
            Say(PUSH_MESSAGE),
            Say("_\r\n"),
            Got(":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n_\r\n"),
            Quiet,
        ],
    ),
    (
        "an invalidation between a command and its BUSY",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Got(HELLO),
            Ask(&["GET k"]),
            Say(INVALIDATE),
            Say(BUSY_LINE),
            Got(INVALIDATE),
            Held,
            Say(INVALIDATE),
            Got(INVALIDATE),
            Go,
            Say("_\r\n"),
            Got("_\r\n"),
            Quiet,
        ],
    ),
    (
        "EXEC's array overflows when it subscribes",
        &[
            Ask(&["MULTI", "SUBSCRIBE a b", "PING", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n+QUEUED\r\n"),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n"),
            Say(
                "*2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n+PONG\r\n",
            ),
            Got(
                "*2\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n+PONG\r\n",
            ),
            Say("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Got("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Quiet,
        ],
    ),
    (
        "monitor lines answer nothing",
        &[
            Ask(&["MONITOR"]),
            Say(OK),
            Got(OK),
            Say(MONITORED),
            Got(MONITORED),
            Ask(&["PING"]),
            Say(MONITORED),
            Say(PONG),
            Say(MONITORED),
            Got(
                "+1699999999.123456 [0 127.0.0.1:6379] \"GET\" \"k\"\r\n+PONG\r\n+1699999999.123456 [0 127.0.0.1:6379] \"GET\" \"k\"\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "REPLY OFF is emulated until ON",
        &[
            Ask(&["CLIENT REPLY OFF"]),
            Sent("CLIENT REPLY ON"),
            Say(OK),
            Got(""),
            Ask(&["SET k v", "NONSENSE", "GET k"]),
            Sent("SET k v; NONSENSE; GET k"),
            Say("+OK\r\n-ERR unknown command\r\n$1\r\nv\r\n"),
            Got(""),
            Ask(&["CLIENT REPLY ON", "PING"]),
            Sent("CLIENT REPLY ON"),
            Say(OK),
            Sent("PING"),
            Say(PONG),
            Got("+OK\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "REPLY OFF ends with RESET",
        &[
            Ask(&["CLIENT REPLY OFF", "RESET", "PING"]),
            Say(OK),
            Say("+RESET\r\n"),
            Say(PONG),
            Got("+RESET\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "writes that are not answered are held too",
        &[
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Sent("CLIENT REPLY ON"),
            Ask(&["SET k v"]),
            Sent("SET k v"),
            Say(BUSY_LINE),
            Held,
            Go,
            Sent("SET k v"),
            Say(OK),
            Got(""),
            Quiet,
        ],
    ),
    (
        "SKIP holds for one command",
        &[Ask(&["CLIENT REPLY SKIP", "PING", "PING"]), Say(OK), Say("+PONG\r\n+PONG\r\n"), Got(PONG), Quiet],
    ),
    (
        "SKIP SKIP PING PING has one reply",
        &[
            Ask(&["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "PING"]),
            Say(OK),
            Say(OK),
            Say("+PONG\r\n+PONG\r\n"),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "SKIP holds for an error, too",
        &[
            Ask(&["CLIENT REPLY SKIP", "NONSENSE", "PING"]),
            Say(OK),
            Say("-ERR unknown\r\n+PONG\r\n"),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "a rejected SKIP still skips",
        &[
            Ask(&["CLIENT REPLY SKIP", "PING", "PING"]),
            Sent("CLIENT REPLY ON"),
            Say(BUSY_LINE),
            Held,
            Go,
            Sent("CLIENT REPLY ON"),
            Say(OK),
            Say("+PONG\r\n+PONG\r\n"),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "SUBSCRIBE is confirmed though muted",
        &[Ask(&["CLIENT REPLY SKIP", "SUBSCRIBE a b"]), Say(OK), Say(SUB_AB), Got(SUB_AB), Quiet],
    ),
    (
        "EXEC's refusal is muted",
        &[
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Ask(&["MULTI", "NONSENSE", "EXEC"]),
            Say("+OK\r\n-ERR unknown\r\n"),
            Say(ABORT_EARLIER),
            Got(""),
            Quiet,
        ],
    ),
    (
        "RESET ends a transaction and subscriptions",
        &[
            Ask(&["MULTI", "SET k v", "RESET", "EXEC"]),
            Say("+OK\r\n+QUEUED\r\n"),
            Say("+RESET\r\n"),
            Say(NO_MULTI),
            Got("+OK\r\n+QUEUED\r\n+RESET\r\n-ERR EXEC without MULTI\r\n"),
            Quiet,
        ],
    ),
    (
        "HELLO answers in the new protocol, which null replies follow",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Got(HELLO),
            Ask(&["WATCH k", "MULTI", "SET k v", "EXEC"]),
            Say(OK),
            Say("+OK\r\n+QUEUED\r\n"),
            Say(ABORT),
            Got("+OK\r\n+OK\r\n+QUEUED\r\n_\r\n"),
            Quiet,
        ],
    ),
    (
        "a refused HELLO leaves the old protocol",
        &[
            Ask(&["HELLO 4"]),
            Say("-NOPROTO unsupported\r\n"),
            Got("-NOPROTO unsupported\r\n"),
            Ask(&["WATCH k", "MULTI", "EXEC"]),
            Say(OK),
            Say(OK),
            Say(ABORT),
            Got("+OK\r\n+OK\r\n*-1\r\n"),
            Quiet,
        ],
    ),
    (
        "QUIT is answered, and nothing goes behind it",
        &[Ask(&["QUIT", "SET k v"]), Sent("QUIT"), Say(OK), Got(OK)],
    ),
    (
        "REPLY OFF in a transaction counts from its place on",
        &[
            Ask(&["MULTI", "INCR n", "CLIENT REPLY OFF", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*3\r\n:1\r\n+OK\r\n:2\r\n"),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n"),
            Ask(&["PING"]),
            Say(PONG),
            Got(""),
            Quiet,
        ],
    ),
    (
        "EXEC has one reply less for REPLCONF ACK",
        &[
            Ask(&["MULTI", "REPLCONF ACK 1", "INCR n", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n:1\r\n"),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n"),
            Say(PONG),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "EXEC has more replies if names are unsubscribed",
        &[
            Ask(&["MULTI", "UNSUBSCRIBE b a", "INCR n", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n"),
            Say(UNSUB_BA),
            Say(":1\r\n"),
            Say(PONG),
            Got(
                "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n:1\r\n+PONG\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "what was subscribed in a transaction is unsubscribed one by one",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Got(HELLO),
            Ask(&["MULTI", "SUBSCRIBE a b", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("*1\r\n"),
            Say(PUSH_AB),
            Ask(&["MULTI", "UNSUBSCRIBE", "INCR n", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n"),
            Say(PUSH_UNSUB_BA),
            Say(":1\r\n"),
            Say(PONG),
            Quiet,
        ],
    ),
    (
        "an inline command may be quoted",
        &[Raw("\"client\" \"reply\" \"off\"\r\n'ping'\r\n"), Sent("CLIENT REPLY ON"), Say(OK), Got("")],
    ),
    (
        "REPLCONF ACK is not answered",
        &[Ask(&["REPLCONF ACK 1", "PING"]), Sent("REPLCONF ACK 1; PING"), Say(PONG), Got(PONG), Quiet],
    ),
    (
        "a stream of replication passes",
        &[
            Ask(&["PSYNC ? -1"]),
            Sent("PSYNC ? -1"),
            Say("\n"),
            Say("+FULLRESYNC abc 0\r\n$9999\r\nanything -BUSY at all"),
            Got("\n+FULLRESYNC abc 0\r\n$9999\r\nanything -BUSY at all"),
            Raw("*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n"),
            Sent("REPLCONF ACK 0"),
        ],
    ),
    (
        "a rejected PSYNC is no stream",
        &[
            Ask(&["PSYNC ? -1"]),
            Sent("PSYNC ? -1"),
            Say(BUSY_LINE),
            Got(""),
            Held,
            Go,
            Sent("PSYNC ? -1"),
            Say("+CONTINUE\r\n"),
            Got("+CONTINUE\r\n"),
        ],
    ),
    ("empty commands are not answered", &[Raw("\r\n*0\r\n*-1\r\nPING\r\n"), Say(PONG), Got(PONG), Quiet]),
    (
        "inline commands",
        &[
            Raw("set k v\r\n  get k\r\n"),
            Say(BUSY_LINE),
            Say(BUSY_LINE),
            Got(""),
            Held,
            Go,
            Say("+OK\r\n$1\r\nv\r\n"),
            Got("+OK\r\n$1\r\nv\r\n"),
            Quiet,
        ],
    ),
    (
        "malformed bytes are the server's to answer",
        &[
            Ask(&["PING"]),
            Raw("*1\r\nX"),
            Say(PONG),
            Say("-ERR Protocol error: expected '$', got 'X'\r\n"),
            Got("+PONG\r\n-ERR Protocol error: expected '$', got 'X'\r\n"),
        ],
    ),
    (
        "an error that nobody asked for is whole, also when malformed bytes pass meanwhile",
        &[Say("-ERR una"), Raw("*1\r\nX"), Say("sked\r\n"), Got("-ERR unasked\r\n")],
    ),
    (
        "look-alikes are final",
        &[
            Ask(&["RESTORE k 0 x", "XGROUP CREATE k g 0", "MIGRATE h 1 k 0 1", "SCRIPT KILL"]),
            Say(
                "-BUSYKEY Target key name already exists.\r\n-BUSYGROUP Consumer Group name already exists\r\n-ERR Target instance replied with error: BUSY x\r\n",
            ),
            Say("-NOTBUSY No scripts in execution right now.\r\n"),
            Got(
                "-BUSYKEY Target key name already exists.\r\n-BUSYGROUP Consumer Group name already exists\r\n-ERR Target instance replied with error: BUSY x\r\n-NOTBUSY No scripts in execution right now.\r\n",
            ),
            Quiet,
        ],
    ),
    ("a kill is answered BUSY, finally", &[Ask(&["FUNCTION KILL"]), Say(BUSY_LINE), Got(BUSY_LINE), Quiet]),
    (
        "attributes belong to the reply behind them",
        &[
            Ask(&["GET k", "GET k"]),
            Say("|1\r\n+ttl\r\n:10\r\n$1\r\nv\r\n"),
            Say("$1\r\nw\r\n"),
            Got("|1\r\n+ttl\r\n:10\r\n$1\r\nv\r\n$1\r\nw\r\n"),
            Quiet,
        ],
    ),
    (
        "every type of RESP3 is skipped by its structure",
        &[
            Ask(&["GET a", "GET b", "GET c", "GET d", "GET e", "GET f", "GET g", "PING"]),
            Say(
                "=7\r\ntxt:x\r\n\r\n(123456789012345678901234567890\r\n,1.5\r\n#t\r\n_\r\n~2\r\n:1\r\n*1\r\n+x\r\n!7\r\nERR abc\r\n+PONG\r\n",
            ),
            Got(
                "=7\r\ntxt:x\r\n\r\n(123456789012345678901234567890\r\n,1.5\r\n#t\r\n_\r\n~2\r\n:1\r\n*1\r\n+x\r\n!7\r\nERR abc\r\n+PONG\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "a transaction refused at EXEC is probed, then sent again as a whole",
        &[
            Ask(&["MULTI", "INCR n", "EXEC", "GET n"]),
            Sent("MULTI; INCR n; EXEC; GET n"),
            Say("+OK\r\n+QUEUED\r\n"),
            Say(ABORT),
            Say(BUSY_LINE),
            Got("+OK\r\n+QUEUED\r\n"),
            Held,
            Go,
            Sent("EXEC"),
            Say(ABORT),
            Held,
            Go,
            Sent("EXEC"),
            Say(NO_MULTI),
            Sent("MULTI; INCR n; EXEC; GET n"),
            Say("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n$1\r\n1\r\n"),
            Got("*1\r\n:1\r\n$1\r\n1\r\n"),
            Quiet,
        ],
    ),
    (
        "a command rejected in a transaction is queued as far as the client can tell",
        &[
            Ask(&["MULTI", "INCR n"]),
            Say("+OK\r\n"),
            Say(BUSY_LINE),
            Got("+OK\r\n+QUEUED\r\n"),
            Ask(&["EXEC", "GET n"]),
            Say(ABORT_EARLIER),
            Got(""),
            Held,
        ],
    ),
    (
        "with WATCH a refused transaction is answered by null",
        &[
            Ask(&["WATCH n", "MULTI", "INCR n"]),
            Say(OK),
            Say(OK),
            Say(BUSY_LINE),
            Got("+OK\r\n+OK\r\n+QUEUED\r\n"),
            Ask(&["EXEC"]),
            Say(ABORT_EARLIER),
            Got("*-1\r\n"),
            Quiet,
        ],
    ),
    (
        "DISCARD of a transaction that BUSY struck",
        &[
            Ask(&["MULTI", "INCR n", "DISCARD"]),
            Say("+OK\r\n"),
            Say(BUSY_LINE),
            Say(OK),
            Got("+OK\r\n+QUEUED\r\n+OK\r\n"),
            Quiet,
        ],
    ),
    (
        "an error inside a transaction stays",
        &[
            Ask(&["MULTI", "NONSENSE", "EXEC"]),
            Say("+OK\r\n-ERR unknown\r\n"),
            Say(ABORT_EARLIER),
            Got("+OK\r\n-ERR unknown\r\n-EXECABORT Transaction discarded because of previous errors.\r\n"),
            Quiet,
        ],
    ),
    (
        "a pipeline rejected as a whole is sent again as a whole",
        &[
            Ask(&["SET a 1", "SET b 2"]),
            Say(BUSY_LINE),
            Say(BUSY_LINE),
            Got(""),
            Held,
            Go,
            Sent("SET a 1; SET b 2; SET a 1; SET b 2"),
            Say("+OK\r\n+OK\r\n"),
            Got("+OK\r\n+OK\r\n"),
            Quiet,
        ],
    ),
    (
        "nothing goes behind a barrier before it is answered",
        &[
            Ask(&["GET k", "SELECT 3", "SET k v"]),
            Sent("GET k"),
            Say("$-1\r\n"),
            Sent("SELECT 3"),
            Say(BUSY_LINE),
            Sent(""),
            Held,
            Go,
            Sent("SELECT 3"),
            Say(OK),
            Sent("SET k v"),
            Say(OK),
            Got("$-1\r\n+OK\r\n+OK\r\n"),
            Quiet,
        ],
    ),
    (
        "UNSUBSCRIBE confirms each of its names, and no more",
        &[
            Ask(&["SUBSCRIBE a b"]),
            Say(SUB_AB),
            Got(SUB_AB),
            Ask(&["UNSUBSCRIBE b", "PING"]),
            Say("*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"),
            Say("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Got("*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Quiet,
            Ask(&["UNSUBSCRIBE a x", "PING"]),
            Say("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"),
            Say("*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n"),
            Say(PONG),
            Got(
                "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n+PONG\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "a refused login is its own affair",
        &[
            Ask(&["AUTH wrong", "PING"]),
            Say("-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
            Say(PONG),
            Got("-WRONGPASS invalid username-password pair or user is disabled.\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "REPLCONF ACK is answered if it is refused, and AUTH by its own reply",
        &[
            Ask(&["REPLCONF ACK 1", "AUTH x"]),
            Sent("REPLCONF ACK 1; AUTH x"),
            Say("-NOAUTH Authentication required.\r\n"),
            Say(OK),
            Got("-NOAUTH Authentication required.\r\n+OK\r\n"),
            Quiet,
        ],
    ),
    (
        "an error of another code is none of REPLCONF ACK, which may still be refused",
        &[
            Ask(&["REPLCONF ACK 1", "GET k"]),
            Say("-WRONGTYPE no string\r\n"),
            Got("-WRONGTYPE no string\r\n"),
            Quiet,
        ],
    ),
    (
        "whatever AUTH is answered is its reply, if no REPLCONF ACK was sent",
        &[Ask(&["AUTH secret"]), Say("-NOAUTH no\r\n"), Got("-NOAUTH no\r\n"), Quiet],
    ),
    (
        "in a transaction SUBSCRIBE is queued, and muted like any other",
        &[
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Ask(&["MULTI", "SUBSCRIBE a"]),
            Say("+OK\r\n+QUEUED\r\n"),
            Got(""),
            Quiet,
        ],
    ),
    (
        "REPLY ON in a transaction ends the silence in the middle of EXEC's reply",
        &[
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Ask(&["MULTI", "CLIENT REPLY ON", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n+OK\r\n:1\r\n"),
            Got("+OK\r\n:1\r\n"),
            Quiet,
        ],
    ),
    (
        "SKIP in a transaction skips the command behind EXEC, and mutes none of its replies but its own",
        &[
            Ask(&["MULTI", "CLIENT REPLY SKIP", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n+OK\r\n:1\r\n"),
            Ask(&["PING", "PING"]),
            Say(PONG),
            Say(PONG),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "EXEC's reply passes whole under WATCH, whatever CLIENT REPLY comes behind it",
        &[
            Ask(&["WATCH k"]),
            Say(OK),
            Ask(&["MULTI", "CLIENT REPLY ON", "EXEC", "CLIENT REPLY OFF"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("*1\r\n+OK\r\n"),
            Say(OK),
            Got("+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"),
            Quiet,
        ],
    ),
    (
        "EXEC has more replies than it says, of which REPLY is one",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Got(HELLO),
            Ask(&["MULTI", "CLIENT REPLY ON", "SUBSCRIBE a b", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n+OK\r\n"),
            Say(PUSH_AB),
            Say(PONG),
            Got(
                "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n+PONG\r\n",
            ),
            Quiet,
        ],
    ),
    (
        "EXEC has one reply less than it says, and REPLY is another",
        &[
            Ask(&["MULTI", "CLIENT REPLY ON", "REPLCONF ACK 1", "INCR n", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n+QUEUED\r\n"),
            Say("*3\r\n+OK\r\n:1\r\n"),
            Say(PONG),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n:1\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "REPLY OFF in a transaction counts from its place on, though SUBSCRIBE has two replies",
        &[
            Ask(&[
                "MULTI",
                "SUBSCRIBE a b",
                "INCR n",
                "CLIENT REPLY OFF",
                "INCR n",
                "EXEC",
                "CLIENT REPLY ON",
            ]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"),
            Say("*4\r\n"),
            Got("*4\r\n"),
            Say(SUB_AB),
            Got(SUB_AB),
            Say(":1\r\n+OK\r\n:2\r\n"),
            Got(":1\r\n"),
            Say(OK),
            Got(OK),
            Quiet,
        ],
    ),
    (
        "and REPLCONF ACK none, as have no words",
        &[
            Raw("MULTI\r\n*0\r\nREPLCONF ACK 1\r\nINCR n\r\nCLIENT REPLY SKIP\r\nINCR n\r\nEXEC\r\n"),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"),
            Say("*4\r\n:1\r\n+OK\r\n:2\r\n"),
            Got("*4\r\n:1\r\n:2\r\n"),
            Ask(&["PING", "PING"]),
            Say(PONG),
            Got(""),
            Say(PONG),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "REPLY OFF in a transaction counts under WATCH, too",
        &[
            Ask(&["WATCH k"]),
            Say(OK),
            Ask(&["MULTI", "INCR n", "CLIENT REPLY OFF", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Got("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"),
            Say("*3\r\n:1\r\n+OK\r\n:2\r\n"),
            Got("*3\r\n:1\r\n"),
            Ask(&["PING"]),
            Say(PONG),
            Got(""),
            Quiet,
        ],
    ),
    (
        "REPLY SKIP is lost where REPLY is OFF",
        &[
            Ask(&["MULTI", "CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "EXEC", "PING"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Got("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"),
            Say("*3\r\n+OK\r\n+OK\r\n+OK\r\n"),
            Got("*3\r\n+OK\r\n"),
            Say(PONG),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "confirmations come in the middle of EXEC's muted reply",
        &[
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Ask(&["MULTI", "INCR n", "SUBSCRIBE a b", "UNSUBSCRIBE", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*4\r\n:1\r\n"),
            Got(""),
            Say(SUB_AB),
            Got(SUB_AB),
            Say(UNSUB_BA),
            Got(UNSUB_BA),
            Say(":2\r\n"),
            Got(""),
            Quiet,
        ],
    ),
    (
        "what is subscribed in a transaction can be unsubscribed there",
        &[
            Ask(&["MULTI", "PSUBSCRIBE a", "UNSUBSCRIBE", "PSUBSCRIBE b", "PUNSUBSCRIBE", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*5\r\n*3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:1\r\n"),
            Say("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n"),
            Say("*3\r\n$10\r\npsubscribe\r\n$1\r\nb\r\n:2\r\n"),
            Say("*3\r\n$12\r\npunsubscribe\r\n$1\r\na\r\n:1\r\n"),
            Say("*3\r\n$12\r\npunsubscribe\r\n$1\r\nb\r\n:0\r\n"),
            Say(":1\r\n"),
            Quiet,
            Ask(&["GET k"]),
            Say(BUSY_LINE),
            Held,
        ],
    ),
    (
        "a subscription that is refused in a transaction has one reply",
        &[
            Ask(&["MULTI", "SSUBSCRIBE a b", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("*1\r\n-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client\r\n"),
            Quiet,
            Ask(&["GET k"]),
            Say(BUSY_LINE),
            Held,
        ],
    ),
    (
        "what a transaction publishes to its own client comes in the middle of EXEC's reply",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Ask(&["SUBSCRIBE a"]),
            Say(PUSH_A),
            Ask(&["MULTI", "PUBLISH a hi", "LRANGE l 0 0", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n"),
            Say(PUSH_MESSAGE),
            Say(":1\r\n"),
            Say("*1\r\n$7\r\nmessage\r\n"),
            Quiet,
            Ask(&["GET k"]),
            Say(BUSY_LINE),
            Held,
        ],
    ),
    (
        "so it does in RESP2, if the transaction subscribes first",
        &[
            Ask(&["MULTI", "SUBSCRIBE a", "PUBLISH a hi", "PING", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*3\r\n"),
            Say(SUB_A),
            Say(MESSAGE),
            Say(":1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            Quiet,
        ],
    ),
    (
        "an element that reads like a message is a reply, if nothing is subscribed",
        &[
            Ask(&["MULTI", "REPLCONF ACK 1", "LRANGE l 0 2", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Say("*2\r\n"),
            Say(MESSAGE),
            Quiet,
        ],
    ),
    (
        "messages come in the middle of EXEC's muted reply",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Ask(&["SUBSCRIBE a"]),
            Say(PUSH_A),
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Got("%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
            Ask(&["MULTI", "PUBLISH a hi", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("*1\r\n"),
            Say(PUSH_MESSAGE),
            Say(":1\r\n"),
            Got(PUSH_MESSAGE),
            Quiet,
        ],
    ),
    (
        "a subscription that the server ends is none of EXEC's replies",
        &[
            Ask(&["HELLO 3"]),
            Say(HELLO),
            Ask(&["SUBSCRIBE a"]),
            Say(PUSH_A),
            Ask(&["MULTI", "INCR n", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("*1\r\n"),
            Say(">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"),
            Say(":1\r\n"),
            Quiet,
            Ask(&["UNSUBSCRIBE"]),
            Say(">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n"),
            Quiet,
        ],
    ),
    (
        "MONITOR is queued in a transaction, and its lines come in the middle of EXEC's reply",
        &[
            Ask(&["MONITOR"]),
            Say(OK),
            Ask(&["MULTI", "MONITOR", "PING", "EXEC"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("+QUEUED\r\n"),
            Got("+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n"),
            Say("*2\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n"),
            Say(MONITORED),
            Say(PONG),
            Quiet,
        ],
    ),
    (
        "a transaction that was not executed has subscribed to nothing, and its reply is no longer than it says",
        &[
            Ask(&["WATCH k"]),
            Say(OK),
            Ask(&["MULTI", "SUBSCRIBE a b", "EXEC", "LRANGE l 0 2"]),
            Say(OK),
            Say("+QUEUED\r\n"),
            Say("*-1\r\n"),
            Say(MESSAGE),
            Got("+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
            Quiet,
        ],
    ),
    (
        "lines of MONITOR are muted",
        &[
            Ask(&["MONITOR"]),
            Say(OK),
            Got(OK),
            Ask(&["CLIENT REPLY OFF"]),
            Say(OK),
            Say(MONITORED),
            Ask(&["PING"]),
            Say(MONITORED),
            Say(PONG),
            Got(""),
            Quiet,
        ],
    ),
    (
        "a line of MONITOR is not what SKIP skips",
        &[
            Ask(&["MONITOR"]),
            Say(OK),
            Got(OK),
            Ask(&["CLIENT REPLY SKIP"]),
            Say(OK),
            Ask(&["PING", "PING"]),
            Say(MONITORED),
            Got(MONITORED),
            Say(PONG),
            Got(""),
            Say(PONG),
            Got(PONG),
            Quiet,
        ],
    ),
    (
        "a line of MONITOR is no reply, however short",
        &[
            Ask(&["MONITOR"]),
            Say(OK),
            Ask(&["PING"]),
            Say("+1699999999.123456 [0 lua] \"X\"\r\n"),
            Say(PONG),
            Got("+OK\r\n+1699999999.123456 [0 lua] \"X\"\r\n+PONG\r\n"),
            Quiet,
        ],
    ),
    (
        "an array that reads like a message is a reply, if nothing is subscribed",
        &[Ask(&["MONITOR"]), Say(OK), Got(OK), Ask(&["LRANGE l 0 2"]), Say(MESSAGE), Got(MESSAGE), Quiet],
    ),
    (
        "a pushed message is one, whatever is subscribed",
        &[Ask(&["HELLO 3"]), Say(HELLO), Got(HELLO), Say(PUSH_MESSAGE), Got(PUSH_MESSAGE), Quiet],
    ),
    (
        "ASKING is sent again with the command behind it",
        &[
            Ask(&["ASKING", "GET k"]),
            Sent("ASKING"),
            Say(OK),
            Got(OK),
            Sent("GET k"),
            Say(BUSY_LINE),
            Held,
            Go,
            Sent("ASKING"),
            Say(OK),
            Go,
            Sent("GET k"),
            Say("$1\r\nv\r\n"),
            Got("$1\r\nv\r\n"),
            Quiet,
        ],
    ),
];

#[test]
fn every_row() {
    for (name, steps) in ROWS {
        run(name, steps, |line, bytes| {
            line.server(bytes.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        });
    }
}

/// The network may cut anywhere; nobody waits for the byte behind a cut.
#[test]
fn replies_cut_at_every_byte() {
    for (name, steps) in ROWS {
        let longest = steps.iter().map(|step| if let Say(bytes) = step { bytes.len() } else { 0 }).max();
        for cut in 0..longest.unwrap_or(0) {
            run(name, steps, |line, bytes| {
                let (first, second) = bytes.as_bytes().split_at(cut.min(bytes.len()));
                for part in [first, second] {
                    line.server(part).unwrap_or_else(|error| panic!("{name}, cut at {cut}: {error}"));
                }
            });
        }
        run(name, steps, |line, bytes| {
            for byte in bytes.as_bytes() {
                line.server(&[*byte]).unwrap_or_else(|error| panic!("{name}, byte by byte: {error}"));
            }
        });
    }
}

/// What no server sends ends the session, and with it the connection; it is never guessed.
#[test]
fn hostile_replies_are_errors() {
    let reply = SessionError::Reply;
    for (asks, says, error) in [
        (&[][..], "+OK\r\n", SessionError::UnexpectedReply),
        (&[], "$3\r\nabc\r\n", SessionError::UnexpectedReply),
        (&["PING"], "+PONG\r\n+PONG\r\n", SessionError::UnexpectedReply),
        (&["SELECT 1", "GET k"], "+OK\r\n+OK\r\n", SessionError::UnexpectedReply),
        (&["UNSUBSCRIBE"], ":1\r\n:1\r\n", SessionError::UnexpectedReply),
        (&["GET k"], "$-2\r\n", reply(ReplyError::BadLength)),
        (&["GET k"], "$abc\r\n", reply(ReplyError::BadLength)),
        (&["GET k"], "*99999999999999999999999999\r\n", reply(ReplyError::BadLength)),
        (&["GET k"], "$?\r\n", reply(ReplyError::Streamed)),
        (&["GET k"], "HTTP/1.1 400 Bad Request\r\n", reply(ReplyError::UnknownType(b'H'))),
        (&["GET k"], "*1\r\nx\r\n", reply(ReplyError::UnknownType(b'x'))),
    ] {
        let mut line = Line::new();
        line.client(&asks.iter().flat_map(|text| cmd(text)).collect::<Vec<_>>());
        assert_eq!(line.server(says.as_bytes()), Err(error), "{asks:?} {says:?}");
    }
}

/// "max number of clients reached" and its like come unasked; the client gets them, and the connection ends.
#[test]
fn a_refused_connection_is_told() {
    let mut line = Line::new();
    line.server(b"-ERR max number of clients reached\r\n").expect("it is no nonsense");
    assert_eq!(line.take_got(), "-ERR max number of clients reached\r\n");
    assert!(line.session.is_refused());
}

#[test]
fn each_replconf_ack_is_refused_once() {
    let mut line = Line::new();
    line.client(&cmd("REPLCONF ACK 1"));
    line.server(b"-NOPERM no\r\n").expect("it is not allowed to");
    assert!(!line.session.is_refused());
    line.server(b"-NOPERM no\r\n").expect("nothing asked for this one");
    assert!(line.session.is_refused());
}

/// Its first byte could be that of a line.
#[test]
fn between_the_lines_of_monitor_a_reply_proves_at_its_end() {
    let mut line = Line::new();
    line.client(&cmd("MONITOR"));
    line.server(OK.as_bytes()).expect("it is accepted");
    line.client(&cmd("PING"));
    let mut proves = |bytes: &str| {
        let mut out = Out::default();
        line.session.server_bytes(bytes.as_bytes(), NOW, &mut out).expect("it is a reply");
        out.proof.is_some()
    };
    assert!(!proves("+PONG\r") && proves("\n"));
}

#[test]
fn a_reply_to_a_command_that_has_left_in_part_is_an_error() {
    let mut session = Session::new(Policy::default());
    session.client_bytes(&cmd("GET k"), NOW, &mut Out::default()).expect("the client is welcome");
    session.send(Pass::Free, NOW);
    session.wrote(session.outgoing().len() - 1, &mut Out::default());
    let read = session.server_bytes(b"$1\r\nv\r\n", NOW, &mut Out::default());
    assert_eq!(read, Err(SessionError::UnexpectedReply));
}

#[test]
fn every_rejection_is_counted() {
    let mut line = Line::new();
    line.client(&cmd("GET k").repeat(3));
    let mut out = Out::default();
    line.session.server_bytes(BUSY_LINE.repeat(2).as_bytes(), NOW, &mut out).expect("they are replies");
    assert_eq!(out.rejected, 2);
}

/// A long error is kept back no further than it takes to tell what it is, anything else not at all.
#[test]
fn replies_are_not_collected() {
    let mut line = Line::new();
    line.client(&cmd("GET k"));
    line.server(b"-").expect("an error begins");
    for _ in 0..1000 {
        line.server(&[b'x'; 1000]).expect("it goes on");
    }
    assert!(line.got.len() >= 1_000_001 - 1_512, "{} bytes were kept back", 1_000_001 - line.got.len());
    line.server(b"\r\n").expect("it ends");
    line.got.clear();
    line.client(&cmd("GET k"));
    line.server(b"$10000000\r\n").expect("a header");
    for piece in 1..=10 {
        line.server(&vec![b'x'; 1_000_000]).expect("a part");
        assert_eq!(line.got.len(), 11 + piece * 1_000_000);
    }
}

/// Those that come between replies of which the client wants none.
#[test]
fn messages_are_not_collected() {
    let mut line = Line::new();
    for (command, reply) in [("CLIENT REPLY OFF", OK), ("SUBSCRIBE a", SUB_A)] {
        line.client(&cmd(command));
        line.server(reply.as_bytes()).expect("it is accepted");
    }
    line.got.clear();
    line.server(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1000000\r\n").expect("a message begins");
    let begun = line.got.len();
    line.server(&[b'x'; 1000]).expect("it goes on");
    assert_eq!((begun, line.got.len()), (34, 1034));
}

/// While nothing is answered, a client's bytes are taken up to the window and one read.
#[test]
fn unanswered_commands_are_bounded() {
    for read in [1_000, 16 * 1024, 64 * 1024] {
        for length in [1, 100, 5_000] {
            let bytes = cmd(&format!("SET k {}", "x".repeat(length))).repeat(200_000 / length + 50);
            let mut line = Line::new();
            let mut taken = 0;
            while line.session.wants_read() && taken < bytes.len() {
                let piece = &bytes[taken..bytes.len().min(taken + read)];
                line.client(piece);
                taken += piece.len();
            }
            assert!(taken <= 32 * 1024 + read, "{taken} bytes taken, {read} at once");
            assert!(line.sent.len() <= 32 * 1024, "{} bytes in flight", line.sent.len());
        }
    }
}

/// They say what is wrong, each in words of its own.
#[test]
fn what_ends_a_session_is_told() {
    let replies = [ReplyError::UnknownType(b'x'), ReplyError::BadLength, ReplyError::Streamed];
    let others = [SessionError::UnexpectedReply, SessionError::CommandTooLarge];
    let told: std::collections::BTreeSet<String> =
        replies.into_iter().map(SessionError::Reply).chain(others).map(|error| error.to_string()).collect();
    assert_eq!(told.len(), 5);
    assert!(
        told.contains("the server's reply cannot be read: a length in a frame is no number or out of range")
    );
}

/// Over TLS a busy server reads no more than one record.
#[test]
fn in_one_write_no_more_is_in_flight_than_the_server_reads_at_once() {
    let mut session = Session::new(Policy::default());
    session.set_one_read(true);
    let get = cmd("GET k");
    session.client_bytes(&get.repeat(2_000), NOW, &mut Out::default()).unwrap();
    session.send(Pass::Free, NOW);
    assert_eq!(session.outgoing().len(), 16 * 1024 / get.len() * get.len());
    session.wrote(session.outgoing().len(), &mut Out::default());
    session.server_bytes(b"$-1\r\n", NOW, &mut Out::default()).unwrap();
    assert_eq!(session.want(), Want::Nothing, "a second write could be read apart from the first");
}

/// What passes unread is bounded, too.
#[test]
fn bytes_that_are_no_commands_are_bounded() {
    let stream = |session: &mut Session| {
        session.client_bytes(b"PSYNC ? -1\r\n", NOW, &mut Out::default()).unwrap();
        session.send(Pass::One, NOW);
        session.wrote(session.outgoing().len(), &mut Out::default());
        session.server_bytes(b"+FULLRESYNC abc 0\r\n", NOW, &mut Out::default()).unwrap();
    };
    let malformed = |session: &mut Session| {
        session.client_bytes(b"GET k\r\n", NOW, &mut Out::default()).unwrap();
        session.send(Pass::One, NOW);
        session.client_bytes(b"*x\r\n", NOW, &mut Out::default()).unwrap();
    };
    for (begin, unread) in [(&stream as &dyn Fn(&mut Session), 0), (&malformed, 4)] {
        let mut session = Session::new(Policy::default());
        begin(&mut session);
        let room = 32 * 1024 - unread;
        session.client_bytes(&vec![b'x'; room - 1], NOW, &mut Out::default()).unwrap();
        assert!(session.wants_read());
        session.client_bytes(b"x", NOW, &mut Out::default()).unwrap();
        assert!(!session.wants_read());
    }
}

#[test]
fn malformed_bytes_are_owed_an_answer() {
    let mut session = Session::new(Policy::default());
    session.client_bytes(b"GET k\r\n*x\r\n", NOW, &mut Out::default()).unwrap();
    session.send(Pass::One, NOW);
    session.wrote(session.outgoing().len(), &mut Out::default());
    session.server_bytes(b"$-1\r\n", NOW, &mut Out::default()).unwrap();
    assert!(!session.is_quiet() && session.has_unsent());
    session.send(Pass::One, NOW);
    assert_eq!(session.outgoing(), b"*x\r\n");
    session.wrote(4, &mut Out::default());
    assert!(session.is_quiet() && !session.has_unsent());
}

#[test]
fn a_command_beyond_the_servers_limit_is_refused_at_its_header() {
    let mut session = Session::new(Policy::default());
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n";
    let result = session.client_bytes(bytes, NOW, &mut Out::default());
    assert!(matches!(result, Ok(Some(_)) | Err(SessionError::CommandTooLarge)), "{result:?}");
}

/// Nothing of the second word has come yet.
#[test]
fn a_command_is_refused_as_soon_as_its_headers_add_up_to_too_much() {
    let mut session = Session::new(Policy::default());
    let begin = format!("*3\r\n$3\r\nSET\r\n${}\r\n{}\r\n", 2 << 20, "k".repeat(2 << 20));
    let result = session.client_bytes(begin.as_bytes(), NOW, &mut Out::default());
    assert!(matches!(result, Ok(None)), "{result:?}");
    let result = session.client_bytes(b"$536870912\r\n", NOW, &mut Out::default());
    assert!(matches!(result, Err(SessionError::CommandTooLarge)), "{result:?}");
}

#[test]
fn the_largest_command_that_servers_take_is_taken() {
    let mut session = Session::new(Policy::default());
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n";
    let result = session.client_bytes(bytes, NOW, &mut Out::default());
    assert!(matches!(result, Ok(None)), "{result:?}");
}

#[test]
fn a_client_is_called_what_it_says_once_that_is_accepted() {
    let mut line = Line::new();
    for (command, reply, user, name) in [
        ("PING", PONG, None, None),
        ("AUTH alice wrong", "-WRONGPASS no\r\n", None, None),
        ("AUTH alice secret", OK, Some("alice"), None),
        ("CLIENT SETNAME worker", OK, Some("alice"), Some("worker")),
        ("RESET", "+RESET\r\n", None, None),
    ] {
        line.client(&cmd(command));
        line.server(reply.as_bytes()).expect("it is a reply");
        assert_eq!((line.session.user(), line.session.client_name()), (user, name), "{command}");
    }
}

#[test]
fn replies_are_pieces_of_what_was_read() {
    let mut session = Session::new(Policy::default());
    session
        .client_bytes(&["GET a", "NONSENSE", "GET b"].map(cmd).concat(), NOW, &mut Out::default())
        .unwrap();
    session.send(Pass::Free, NOW);
    session.wrote(session.outgoing().len(), &mut Out::default());
    let mut out = Out::default();
    session.server_bytes(b"$-1\r\n-ERR", NOW, &mut out).unwrap();
    assert_eq!((out.pieces(), out.own()), (&[Piece::Read(0..5)][..], &b""[..]));
    out.clear();
    session.server_bytes(b" no\r\n$-1\r\n", NOW, &mut out).unwrap();
    assert_eq!((out.pieces(), out.own()), (&[Piece::Own(0..9), Piece::Read(5..10)][..], &b"-ERR no\r\n"[..]));
}

#[test]
fn a_scout_is_small_and_answered_at_once() {
    let scout = |command: &[u8]| {
        let mut session = Session::new(Policy::default());
        session.client_bytes(command, NOW, &mut Out::default()).unwrap();
        session.ask().scout
    };
    assert!(scout(&cmd("SET k v")));
    assert!(!scout(&cmd("BLPOP k 0")));
    assert!(!scout(&cmd(&format!("SET k {}", "x".repeat(20_000)))));
}

#[test]
fn a_small_transaction_speaks_for_the_server_and_so_does_its_probe() {
    let commands = ["MULTI", "INCR n", "EXEC"].map(cmd).concat();
    let mut line = Line::new();
    line.session.client_bytes(&commands, NOW, &mut Out::default()).unwrap();
    assert!(line.session.ask().scout);
    line.pump();
    line.server(format!("+OK\r\n+QUEUED\r\n{ABORT}").as_bytes()).unwrap();
    assert!(line.session.is_held() && line.session.ask().scout);
}

/// One of the things that may happen to a session.
#[derive(Debug, Clone)]
enum Act {
    Client(Vec<u8>),
    Server(Vec<u8>),
    Send(bool),
    Write(usize),
    Wait,
    Expire(u64),
    Settle(bool),
    Gone,
    Lost,
    Abandon,
    Unpoison,
}

fn bytes_of(lines: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => prop::sample::select(lines).prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    (prop::collection::vec(line, 1..6), 0_usize..40, any::<bool>()).prop_map(|(lines, cut, cuts)| {
        let mut bytes = lines.concat();
        if cuts {
            bytes.truncate(cut);
        }
        bytes
    })
}

fn act() -> impl Strategy<Value = Act> {
    const ASKS: &[&str] = &[
        "GET k\r\n",
        "SET k v\r\n",
        "MULTI\r\n",
        "EXEC\r\n",
        "DISCARD\r\n",
        "WATCH k\r\n",
        "SELECT 1\r\n",
        "HELLO 3\r\n",
        "AUTH x\r\n",
        "SUBSCRIBE a b\r\n",
        "UNSUBSCRIBE\r\n",
        "PSUBSCRIBE a\r\n",
        "CLIENT REPLY OFF\r\n",
        "CLIENT REPLY SKIP\r\n",
        "CLIENT REPLY ON\r\n",
        "MONITOR\r\n",
        "RESET\r\n",
        "QUIT\r\n",
        "PSYNC ? -1\r\n",
        "REPLCONF ACK 1\r\n",
        "\r\n",
        "*0\r\n",
        "EVAL x 0\r\n",
        "foo\r\n",
        "ASKING\r\n",
        "SCRIPT KILL\r\n",
        "BLPOP k 0\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "*1\r\nX",
    ];
    const SAYS: &[&str] = &[
        OK,
        PONG,
        BUSY,
        ABORT,
        ABORT_EARLIER,
        NO_MULTI,
        "+QUEUED\r\n",
        ":1\r\n",
        "$1\r\nv\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "_\r\n",
        "*2\r\n:1\r\n+OK\r\n",
        SUB_A,
        UNSUB_BA,
        MESSAGE,
        PUSH_AB,
        PUSH_MESSAGE,
        HELLO,
        MONITORED,
        INVALIDATE,
        "-ERR no\r\n",
        "-NOAUTH no\r\n",
        "+RESET\r\n",
        "|1\r\n+a\r\n:1\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
    ];
    prop_oneof![
        8 => bytes_of(ASKS).prop_map(Act::Client),
        8 => bytes_of(SAYS).prop_map(Act::Server),
        8 => any::<bool>().prop_map(Act::Send),
        8 => (0_usize..100).prop_map(Act::Write),
        1 => Just(Act::Wait),
        1 => (0_u64..400).prop_map(Act::Expire),
        1 => any::<bool>().prop_map(Act::Settle),
        1 => Just(Act::Gone),
        1 => Just(Act::Lost),
        1 => Just(Act::Abandon),
        1 => Just(Act::Unpoison),
    ]
}

/// Does what the contract allows of an act, and nothing if it allows nothing.
fn perform(session: &mut Session, act: Act, now: Time, out: &mut Out) -> Result<(), SessionError> {
    match act {
        Act::Client(bytes) if session.wants_read() => session.client_bytes(&bytes, now, out).map(|_| ())?,
        Act::Server(bytes) => {
            session.server_bytes(&bytes, now, out)?;
            assert!(out.to_client(&bytes).len() <= bytes.len() + out.own().len());
        }
        Act::Send(free) if session.want() != Want::Nothing => {
            session.send(if free { Pass::Free } else { Pass::One }, now);
        }
        Act::Write(bytes) => {
            let bytes = bytes.min(session.outgoing().len());
            session.wrote(bytes, out);
        }
        Act::Wait if session.is_idle() && matches!(session.want(), Want::Gate(_)) => session.wait_began(now),
        Act::Expire(_) if session.is_idle() && session.deadline().is_some() => {
            session.expire(None, now, out);
        }
        Act::Settle(rejected) if session.doubt().is_some() => {
            if rejected {
                session.confirm_rejection();
            } else {
                session.deny_rejection(now, out);
            }
        }
        Act::Gone => session.client_gone(),
        Act::Lost => session.client_lost(),
        Act::Abandon if session.is_idle() => session.abandon(),
        Act::Unpoison if session.is_poisoned() => session.unpoison(),
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever both sides send, in pieces of any size: an answer or an error, never a panic, and little in flight.
    #[test]
    fn any_bytes_are_survived(acts in prop::collection::vec(act(), 1..120), strict: bool, loading: bool) {
        let policy = Policy { strict, loading, max_wait: std::time::Duration::from_millis(200), ..Policy::default() };
        let mut session = Session::new(policy);
        let mut now = NOW;
        for act in acts {
            if let Act::Expire(ms) = act {
                now = now + std::time::Duration::from_millis(ms);
            }
            let mut out = Out::default();
            let done = perform(&mut session, act, now, &mut out);
            let _ = (session.want(), session.ask(), session.deadline(), session.is_quiet());
            if strict {
                prop_assert!(session.is_tunnel() || session.outgoing().len() <= 64 * 1024);
            }
            if done.is_err() {
                break;
            }
        }
    }
}

#[test]
fn in_a_stream_of_replication_what_is_not_written_is_unsent() {
    let mut session = Session::new(Policy::default());
    session.client_bytes(b"PSYNC ? -1\r\n", NOW, &mut Out::default()).unwrap();
    session.send(Pass::One, NOW);
    session.wrote(session.outgoing().len(), &mut Out::default());
    session.server_bytes(b"+FULLRESYNC abc 0\r\n", NOW, &mut Out::default()).unwrap();
    assert!(session.is_tunnel() && !session.has_unsent());
    session.client_bytes(b"anything", NOW, &mut Out::default()).unwrap();
    assert!(session.has_unsent());
    session.send(Pass::Free, NOW);
    assert_eq!(session.outgoing(), b"anything");
    assert!(!session.has_unsent());
    session.client_bytes(b"GET k\r\n", NOW, &mut Out::default()).unwrap();
    session.wrote(8, &mut Out::default());
    assert!(session.has_unsent());
    session.send(Pass::Free, NOW);
    assert_eq!(session.outgoing(), b"GET k\r\n");
    assert!(!session.has_unsent());
    session.wrote(7, &mut Out::default());
    assert!(session.is_quiet() && !session.has_unsent(), "there are no commands any more");
}

#[test]
fn what_waits_behind_psync_is_part_of_the_stream() {
    const REST: &[u8] = b"REPLCONF ACK 0\r\nREPL";
    let mut session = Session::new(Policy::default());
    session.client_bytes(&[b"PSYNC ? -1\r\n", REST].concat(), NOW, &mut Out::default()).unwrap();
    session.send(Pass::One, NOW);
    session.wrote(session.outgoing().len(), &mut Out::default());
    session.server_bytes(b"+CONTINUE\r\n", NOW, &mut Out::default()).unwrap();
    session.send(Pass::One, NOW);
    assert_eq!(session.outgoing(), REST);
    session.wrote(REST.len(), &mut Out::default());
    assert!(session.is_quiet() && session.wants_read());
}

#[test]
fn a_stream_of_replication_that_was_rejected_first_is_held_no_more() {
    let mut line = Line::new();
    line.client(b"PSYNC ? -1\r\n");
    line.server(BUSY.as_bytes()).expect("it is busy");
    assert!(line.session.is_held());
    line.go();
    let mut out = Out::default();
    line.session.server_bytes(b"+FULLRESYNC abc 0\r\n", NOW, &mut out).expect("it is not busy");
    assert!(line.session.is_tunnel() && !line.session.is_held());
    assert!(out.proof.is_some(), "the gate hears of it");
}
