//! A client closes: what it sent is executed if it was on its way, and never if it waited.

use unbusy_core::session::{Out, Pass, Want};
use unbusy_core::{Policy, Session, Time};

use simulation::{BUSY, pipeline};

/// A session to which the client has sent this, and of it as much as may go is on its way.
fn sending(lines: &[&str]) -> Session {
    let mut session = Session::new(Policy::default());
    session.client_bytes(&pipeline(lines), Time::ZERO, &mut Out::default()).unwrap();
    send(&mut session);
    session
}

fn send(session: &mut Session) -> Vec<u8> {
    session.send(Pass::One, Time::ZERO);
    let bytes = session.outgoing().to_vec();
    session.wrote(bytes.len(), &mut Out::default());
    bytes
}

fn hear(session: &mut Session, reply: &str) -> String {
    let mut out = Out::default();
    session.server_bytes(reply.as_bytes(), Time::ZERO, &mut out).unwrap();
    String::from_utf8(out.to_client(reply.as_bytes())).unwrap()
}

fn assert_over(session: &Session) {
    assert_eq!(session.want(), Want::Nothing);
    assert!(session.is_idle() && session.is_quiet() && !session.has_unsent());
    assert!(!session.wants_read(), "of a client that has gone");
    assert_eq!(session.ask().commands, 0);
}

#[test]
fn behind_a_held_command_whose_next_try_is_accepted_nothing_is_sent_for_a_client_that_has_gone() {
    let mut session = sending(&["INCR a", "INCR b", "INCR c"]);
    assert_eq!(hear(&mut session, BUSY), "");
    assert_eq!(send(&mut session), pipeline(&["INCR a"]));
    session.client_gone();
    assert_eq!(hear(&mut session, ":1\r\n"), ":1\r\n");
    assert_over(&session);
}

#[test]
fn a_transaction_whose_probe_finds_an_open_server_is_not_sent_for_a_client_that_has_gone() {
    const ABORT: &str = "-EXECABORT Transaction discarded because of: BUSY x\r\n";
    let mut session = sending(&["MULTI", "INCR n", "EXEC", "INCR n"]);
    assert_eq!(hear(&mut session, &format!("+OK\r\n+QUEUED\r\n{ABORT}")), "+OK\r\n+QUEUED\r\n");
    assert_eq!(send(&mut session), pipeline(&["EXEC"]));
    session.client_gone();
    assert_eq!(hear(&mut session, "-ERR EXEC without MULTI\r\n"), "");
    assert_over(&session);
}

#[test]
fn a_client_that_is_lost_while_its_transaction_is_sent_again_leaves_nothing_behind() {
    const ABORT: &str = "-EXECABORT Transaction discarded because of: BUSY x\r\n";
    // Too large to be sent as one.
    let large = format!("SET k {}", "x".repeat(20_000));
    let mut session = sending(&["MULTI", &large, "EXEC"]);
    assert_eq!(hear(&mut session, "+OK\r\n"), "+OK\r\n");
    send(&mut session);
    assert_eq!(hear(&mut session, "+QUEUED\r\n"), "+QUEUED\r\n");
    send(&mut session);
    assert_eq!(hear(&mut session, ABORT), "");
    assert_eq!(send(&mut session), pipeline(&["EXEC"]));
    assert_eq!(hear(&mut session, "-ERR EXEC without MULTI\r\n"), "");
    assert_eq!(send(&mut session), pipeline(&["MULTI"]));
    session.client_lost();
    assert_eq!(hear(&mut session, "+OK\r\n"), "");
    assert_over(&session);
}

/// It may read on, though it sends no more: as `printf … | nc` does.
#[test]
fn behind_what_is_on_its_way_all_is_sent_for_a_client_that_sends_no_more() {
    let mut session = sending(&["INCR a", "INCR b"]);
    session.client_gone();
    assert!(session.has_unsent());
    assert_eq!(hear(&mut session, ":1\r\n"), ":1\r\n");
    assert_eq!(send(&mut session), pipeline(&["INCR b"]));
    assert_eq!(hear(&mut session, ":1\r\n"), ":1\r\n");
    assert_over(&session);
}

#[test]
fn behind_what_is_on_its_way_nothing_is_sent_for_a_client_that_cannot_be_reached() {
    let mut session = sending(&["INCR a", "INCR b"]);
    session.client_lost();
    hear(&mut session, ":1\r\n");
    assert_over(&session);
}

#[test]
fn what_is_held_is_not_when_it_is_abandoned() {
    let mut session = sending(&["INCR a", "INCR b"]);
    assert_eq!(hear(&mut session, BUSY), "");
    session.client_gone();
    session.abandon();
    assert!(!session.is_held() && !session.waits());
    assert_over(&session);
}
