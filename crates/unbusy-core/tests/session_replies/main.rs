//! A session alone, byte for byte: which bytes of the server belong to which command, what the client gets, what is
//! kept back, and what goes to the server. The rows are those of the servers' reply protocol with its exceptions.
mod rows;
mod transactions;

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

/// All rows.
fn rows() -> impl Iterator<Item = &'static (&'static str, &'static [Step])> {
    rows::ROWS.iter().chain(transactions::ROWS)
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

#[test]
fn every_row() {
    for (name, steps) in rows() {
        run(name, steps, |line, bytes| {
            line.server(bytes.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        });
    }
}

/// The network may cut anywhere; nobody waits for the byte behind a cut.
#[test]
fn replies_cut_at_every_byte() {
    for (name, steps) in rows() {
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

/// Its transaction was being sent again when the lease ended.
#[test]
fn a_reply_that_began_before_its_command_was_taken_back_is_an_error() {
    let mut line = Line::new();
    line.client(&["MULTI", "INCR n", "EXEC"].map(cmd).concat());
    line.server(format!("+OK\r\n+QUEUED\r\n{ABORT}").as_bytes()).expect("it was rejected");
    line.go();
    let mut out = Out::default();
    line.session.server_bytes(NO_MULTI.as_bytes(), NOW, &mut out).expect("it is over");
    line.session.send(Pass::Free, NOW);
    line.session.server_bytes(b"+O", NOW, &mut out).expect("only the end tells");
    line.session.take_back();
    assert_eq!(line.session.server_bytes(b"K\r\n", NOW, &mut out), Err(SessionError::UnexpectedReply));
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

/// While nothing is answered, a client's bytes are taken up to the window and one read. The window is wider when the server is known
/// to have accepted the connection.
#[test]
fn unanswered_commands_are_bounded() {
    for (accepted, window) in [(false, 32 * 1024), (true, 48 * 1024)] {
        for read in [1_000, 16 * 1024, 64 * 1024] {
            for length in [1, 100, 5_000] {
                let set = cmd(&format!("SET k {}", "x".repeat(length)));
                let bytes = set.repeat(200_000 / length + 50);
                let mut line = Line::new();
                if accepted {
                    line.client(&cmd("PING"));
                    line.server(PONG.as_bytes()).expect("the connection is accepted");
                    line.sent.clear();
                }
                let mut taken = 0;
                while line.session.wants_read() && taken < bytes.len() {
                    let piece = &bytes[taken..bytes.len().min(taken + read)];
                    line.client(piece);
                    taken += piece.len();
                }
                assert!(taken <= window + read, "{taken} bytes taken, {read} at once");
                let room = window.checked_sub(line.sent.len());
                assert!(
                    room.is_some_and(|room| room < set.len()),
                    "{} bytes in flight of {window}",
                    line.sent.len()
                );
            }
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

/// A kill must act at once. Of what was rejected the gate knows when to try again.
#[test]
fn what_a_busy_server_answers_passes_the_gate_until_it_was_rejected() {
    for (command, passes) in [("SCRIPT KILL", true), ("AUTH x", true), ("HELLO 3", true), ("GET k", false)] {
        let mut line = Line::new();
        line.session.client_bytes(&cmd(command), NOW, &mut Out::default()).unwrap();
        assert_eq!(line.session.want() == Want::Pass, passes, "{command}");
        line.go();
        line.server(BUSY.as_bytes()).expect("it is a reply");
        assert!(matches!(line.session.want(), Want::Gate(_)) || command == "SCRIPT KILL");
    }
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
    let set = |bytes: usize| cmd(&format!("SET k {}", "x".repeat(bytes)));
    let frame = set(10_000).len() - 10_000;
    assert!(scout(&set(16 * 1024 - frame)));
    assert!(!scout(&set(16 * 1024 - frame + 1)));
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
    assert!(line.session.is_held() && !line.session.is_tunnel());
    line.go();
    let mut out = Out::default();
    line.session.server_bytes(b"+FULLRESYNC abc 0\r\n", NOW, &mut out).expect("it is not busy");
    assert!(line.session.is_tunnel() && !line.session.is_held());
    assert!(out.proof.is_some(), "the gate hears of it");
}
