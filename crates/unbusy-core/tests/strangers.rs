//! A client that has not logged in must not make anybody keep a large command.

use unbusy_core::session::{Out, Pass, Want};
use unbusy_core::{Policy, Session, Time};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const BEGINNING: &[u8] = b"*2\r\n$3\r\nGET\r\n$100000\r\nxxx";

fn asked() -> Session {
    let mut session = Session::new(Policy::default());
    session.client_bytes(BEGINNING, Time::ZERO, &mut Out::default()).unwrap();
    assert!(!session.wants_read());
    assert!(matches!(session.want(), Want::Gate(ask) if ask.scout));
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), PING);
    session.wrote(PING.len(), &mut Out::default());
    assert_eq!(session.want(), Want::Nothing);
    session
}

fn hear(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    session.server_bytes(bytes, Time::ZERO, &mut out).unwrap();
    out.to_client(bytes)
}

#[test]
fn who_is_unknown_is_left_to_the_server() {
    let mut session = asked();
    assert_eq!(hear(&mut session, b"-NOAUTH Authentication required.\r\n"), b"");
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), BEGINNING);
    session.wrote(BEGINNING.len(), &mut Out::default());
    let refusal = b"-ERR Protocol error: unauthenticated bulk length\r\n";
    assert_eq!(hear(&mut session, refusal), refusal);
}

#[test]
fn who_is_known_may_go_on() {
    for answer in [
        &b"+PONG\r\n"[..],
        b"-NOPERM this user has no permissions to run the 'ping' command\r\n",
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
    ] {
        let mut session = asked();
        assert_eq!(hear(&mut session, answer), b"");
        assert!(session.wants_read());
        assert_eq!(session.want(), Want::Nothing);
    }
}

/// Sends a command and has it answered.
fn answered(session: &mut Session, command: &[u8], reply: &[u8]) {
    session.client_bytes(command, Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::One, Time::ZERO);
    session.wrote(command.len(), &mut Out::default());
    assert_eq!(hear(session, reply), reply);
}

#[test]
fn who_was_answered_before_is_not_asked() {
    let mut session = Session::new(Policy::default());
    answered(&mut session, b"GET k\r\n", b"$-1\r\n");
    session.client_bytes(BEGINNING, Time::ZERO, &mut Out::default()).unwrap();
    assert!(session.wants_read());
    assert_eq!(session.want(), Want::Nothing);
}

#[test]
fn who_was_refused_before_is_asked_and_who_has_logged_in_is_not() {
    for (command, reply, known) in [
        (&b"GET k\r\n"[..], &b"-NOAUTH Authentication required.\r\n"[..], false),
        (b"QUIT\r\n", b"+OK\r\n", false),
        (b"AUTH secret\r\n", b"+OK\r\n", true),
    ] {
        let mut session = Session::new(Policy::default());
        answered(&mut session, command, reply);
        session.client_bytes(BEGINNING, Time::ZERO, &mut Out::default()).unwrap();
        assert_eq!(session.wants_read(), known, "{}", command.escape_ascii());
    }
}

/// It may read on, though it sends no more.
#[test]
fn who_is_unknown_and_sends_no_more_is_told_by_the_server_as_well() {
    let mut session = asked();
    session.client_gone();
    hear(&mut session, b"-NOAUTH Authentication required.\r\n");
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), BEGINNING);
}

#[test]
fn behind_reset_everybody_is_unknown() {
    let mut session = Session::new(Policy::default());
    answered(&mut session, b"GET k\r\n", b"$-1\r\n");
    answered(&mut session, b"RESET\r\n", b"+RESET\r\n");
    session.client_bytes(BEGINNING, Time::ZERO, &mut Out::default()).unwrap();
    assert!(!session.wants_read());
}
