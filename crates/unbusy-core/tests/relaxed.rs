//! Without strict order, what was executed behind a rejected command is answered in its turn, and only the rejected are
//! sent again.

use simulation::{BUSY, pipeline};
use unbusy_core::session::{Out, Pass};
use unbusy_core::{Event, Policy, Session, Time};

fn relaxed() -> Session {
    Session::new(Policy { strict: false, ..Policy::default() })
}

/// What goes to the server when the client has sent these.
fn send(session: &mut Session, commands: &[&str]) -> Vec<u8> {
    session.client_bytes(&pipeline(commands), Time::ZERO, &mut Out::default()).unwrap();
    let mut sent = Vec::new();
    loop {
        session.send(Pass::Free, Time::ZERO);
        let bytes = session.outgoing().to_vec();
        session.wrote(bytes.len(), &mut Out::default());
        sent.extend(&bytes);
        if bytes.is_empty() {
            return sent;
        }
    }
}

/// What the client gets of this.
fn hear(session: &mut Session, reply: &str) -> String {
    let mut out = Out::default();
    session.server_bytes(reply.as_bytes(), Time::ZERO, &mut out).unwrap();
    assert!(!out.events.contains(&Event::Hole));
    String::from_utf8(out.to_client(reply.as_bytes())).unwrap()
}

#[test]
fn only_the_rejected_are_sent_again() {
    let mut session = relaxed();
    let commands = ["GET a", "INCR b", "INCR bb", "GET ccc", "INCR d", "GET e"];
    assert_eq!(send(&mut session, &commands), pipeline(&commands));
    assert_eq!(hear(&mut session, &format!("{BUSY}:1\r\n:22\r\n{BUSY}:4\r\n{BUSY}")), "");
    assert_eq!(send(&mut session, &[]), pipeline(&["GET a", "GET ccc", "GET e"]));
    assert_eq!(hear(&mut session, "$1\r\na\r\n"), "$1\r\na\r\n:1\r\n:22\r\n");
    assert_eq!(hear(&mut session, "$1\r\nc\r\n"), "$1\r\nc\r\n:4\r\n");
    assert_eq!(hear(&mut session, "$1\r\ne\r\n"), "$1\r\ne\r\n");
    assert!(session.is_quiet());
    assert_eq!(send(&mut session, &["GET f"]), pipeline(&["GET f"]));
    assert_eq!(hear(&mut session, "$1\r\nf\r\n"), "$1\r\nf\r\n");
}

#[test]
fn what_is_rejected_once_more_is_sent_once_more() {
    let mut session = relaxed();
    send(&mut session, &["GET a", "INCR b", "GET ccc"]);
    hear(&mut session, &format!("{BUSY}:1\r\n{BUSY}"));
    for _ in 0..2 {
        assert_eq!(send(&mut session, &[]), pipeline(&["GET a", "GET ccc"]));
        assert_eq!(hear(&mut session, &BUSY.repeat(2)), "");
    }
    assert_eq!(send(&mut session, &[]), pipeline(&["GET a", "GET ccc"]));
    assert_eq!(hear(&mut session, "$1\r\na\r\n$1\r\nc\r\n"), "$1\r\na\r\n:1\r\n$1\r\nc\r\n");
    assert!(session.is_quiet());
}

/// More than that in all would be a hole.
#[test]
fn what_is_delivered_takes_none_of_the_room_for_early_replies() {
    let large = format!("${}\r\n{}\r\n", 8 << 20, "x".repeat(8 << 20));
    let mut session = relaxed();
    for _ in 0..9 {
        send(&mut session, &["GET a", "GET large"]);
        assert_eq!(hear(&mut session, &format!("{BUSY}{large}")), "");
        send(&mut session, &[]);
        assert!(hear(&mut session, "$-1\r\n") == format!("$-1\r\n{large}"));
    }
}

/// What was executed is never told that it was not.
#[test]
fn where_there_is_no_room_only_the_rejected_are_given_up() {
    let large = format!("${}\r\n{}\r\n", 64 << 20, "x".repeat(64 << 20));
    let mut session = relaxed();
    send(&mut session, &["GET a", "GET large", "GET b", "INCR c", "INCR d"]);
    assert_eq!(hear(&mut session, &format!("{BUSY}{large}{BUSY}")), "");
    let mut out = Out::default();
    session.server_bytes(b":1\r\n", Time::ZERO, &mut out).unwrap();
    assert!(out.to_client(b":1\r\n") == format!("{BUSY}{large}{BUSY}:1\r\n").as_bytes());
    assert_eq!((out.given_up, out.events.as_slice()), (2, &[Event::Hole][..]));
    assert_eq!(hear(&mut session, ":2\r\n"), ":2\r\n");
    assert!(session.is_quiet());
    send(&mut session, &["GET a", "INCR b"]);
    assert_eq!(hear(&mut session, &format!("{BUSY}:3\r\n")), "", "there is room again");
}

#[test]
fn an_error_behind_a_rejected_command_is_an_answer() {
    let mut session = relaxed();
    send(&mut session, &["GET a", "INCR text"]);
    let error = "-ERR value is not an integer or out of range\r\n";
    assert_eq!(hear(&mut session, &format!("{BUSY}{error}")), "");
    assert_eq!(send(&mut session, &[]), pipeline(&["GET a"]));
    assert_eq!(hear(&mut session, "$-1\r\n"), format!("$-1\r\n{error}"));
    send(&mut session, &["GET a", "INCR text"]);
    for piece in [BUSY, &error[..10], &error[10..]] {
        assert_eq!(hear(&mut session, piece), "");
    }
    assert_eq!(send(&mut session, &[]), pipeline(&["GET a"]));
    assert_eq!(hear(&mut session, "$-1\r\n"), format!("$-1\r\n{error}"), "also if it comes in pieces");
}

/// Its confirmations say which replies are to come, so they cannot wait for their turn.
#[test]
fn a_subscription_is_never_behind_a_rejected_command() {
    for command in ["SUBSCRIBE a b", "UNSUBSCRIBE"] {
        let mut session = relaxed();
        assert_eq!(send(&mut session, &["GET a", command]), pipeline(&["GET a"]));
        assert_eq!(hear(&mut session, BUSY), "");
        assert_eq!(send(&mut session, &[]), pipeline(&["GET a"]));
        assert_eq!(hear(&mut session, "$-1\r\n"), "$-1\r\n");
        assert_eq!(send(&mut session, &[]), pipeline(&[command]));
    }
}

/// The server may be open from this moment, and who looks after scripts has a list.
#[test]
fn a_script_that_is_answered_behind_a_rejected_command_is_told_at_once() {
    let mut session = relaxed();
    send(&mut session, &["GET a", "EVAL s 0"]);
    let mut out = Out::default();
    session.server_bytes(format!("{BUSY}:1\r\n").as_bytes(), Time::ZERO, &mut out).unwrap();
    assert!(out.script_answered);
    assert_eq!((out.scripts().count(), session.scripts_in_flight()), (1, 0));
    send(&mut session, &[]);
    out.clear();
    session.server_bytes(b"$-1\r\n", Time::ZERO, &mut out).unwrap();
    assert_eq!(out.to_client(b"$-1\r\n"), b"$-1\r\n:1\r\n");
    assert_eq!((out.script_answered, out.scripts().count()), (false, 0));
}

/// Whether it is a line of MONITOR or a reply is seen at its end.
#[test]
fn between_the_lines_of_monitor_it_is_the_same() {
    const LINE: &str = "+1699999999.123456 [0 127.0.0.1:6379] \"GET\" \"k\"\r\n";
    let mut session = relaxed();
    send(&mut session, &["MONITOR"]);
    assert_eq!(hear(&mut session, "+OK\r\n"), "+OK\r\n");
    send(&mut session, &["GET a", "SET b x"]);
    assert_eq!(hear(&mut session, &format!("{BUSY}{LINE}+OK\r\n")), LINE);
    assert_eq!(send(&mut session, &[]), pipeline(&["GET a"]));
    assert_eq!(hear(&mut session, "$-1\r\n"), "$-1\r\n+OK\r\n");
}
