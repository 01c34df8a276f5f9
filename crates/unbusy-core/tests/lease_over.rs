//! A lease that ends between the decision to send and the write.

use std::time::Duration;

use unbusy_core::session::{Out, Pass, Want};
use unbusy_core::{Policy, Session, Time};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const INCR: &[u8] = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";

fn session_with(bytes: &[u8]) -> Session {
    let mut session = Session::new(Policy::default());
    session.client_bytes(bytes, Time::ZERO, &mut Out::default()).unwrap();
    session
}

fn wrote(session: &mut Session, bytes: usize) {
    session.wrote(bytes, &mut Out::default());
}

#[test]
fn one_command_needs_no_lease() {
    let mut session = session_with(INCR);
    session.send(Pass::Free, Time::ZERO);
    assert!(!session.needs_lease());

    let mut session = session_with(&INCR.repeat(2));
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), INCR);
    assert!(!session.needs_lease());
}

#[test]
fn a_small_transaction_of_one_pass_needs_no_lease() {
    let bytes = [b"MULTI\r\n", INCR, b"EXEC\r\n"].concat();
    let mut session = session_with(&bytes);
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), bytes);
    assert!(!session.needs_lease());
}

#[test]
fn a_pipeline_of_which_nothing_is_written_is_taken_back_whole() {
    let mut session = session_with(&INCR.repeat(3));
    session.send(Pass::Free, Time::ZERO);
    assert!(session.needs_lease());
    session.take_back();
    assert_eq!(session.outgoing(), b"");
    assert!(session.is_idle());
    assert!(matches!(session.want(), Want::Gate(ask) if ask.scout && ask.commands == 3));
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), INCR);
}

#[test]
fn a_command_that_is_written_in_part_goes_to_its_end_and_no_further() {
    let mut session = session_with(&[PING, INCR, INCR].concat());
    session.send(Pass::Free, Time::ZERO);
    wrote(&mut session, PING.len() + 5);
    session.take_back();
    assert_eq!(session.outgoing(), &INCR[5..]);
    wrote(&mut session, INCR.len() - 5);
    assert!(!session.is_idle());

    let mut out = Out::default();
    session.server_bytes(b"+PONG\r\n:1\r\n", Time::ZERO, &mut out).unwrap();
    assert_eq!(out.to_client(b"+PONG\r\n:1\r\n"), b"+PONG\r\n:1\r\n");
    session.send(Pass::Free, Time::ZERO);
    assert_eq!(session.outgoing(), INCR, "the last one is sent once");
}

#[test]
fn a_script_taken_back_is_not_in_flight() {
    let script = b"*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n";
    let mut session = session_with(&[&PING.repeat(2)[..], script].concat());
    session.send(Pass::Free, Time::ZERO);
    assert_eq!(session.scripts_in_flight(), 1);
    wrote(&mut session, PING.len());
    session.take_back();
    assert_eq!(session.scripts_in_flight(), 0);
    assert_eq!(session.outgoing(), b"");
}

#[test]
fn what_is_taken_back_behind_a_rejection_does_not_stop_the_retry() {
    const BUSY: &[u8] =
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    let mut session = session_with(&INCR.repeat(3));
    session.send(Pass::Free, Time::ZERO);
    wrote(&mut session, INCR.len());
    session.server_bytes(BUSY, Time::ZERO, &mut Out::default()).unwrap();
    assert!(session.is_held());
    session.take_back();
    assert!(session.is_idle());
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), INCR);
}

/// The socket was full, and all that was written has been rejected meanwhile.
#[test]
fn the_last_command_of_a_pipeline_is_not_written_behind_rejected_ones() {
    const BUSY: &[u8] =
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    let mut session = session_with(&INCR.repeat(3));
    session.send(Pass::Free, Time::ZERO);
    wrote(&mut session, 2 * INCR.len());
    session.server_bytes(&BUSY.repeat(2), Time::ZERO, &mut Out::default()).unwrap();
    assert!(session.needs_lease());
    assert!(!session.may_join(WIDTH, Time::ZERO), "whatever others have proved meanwhile");
    session.take_back();
    assert!(session.is_idle() && session.is_held());
    session.send(Pass::One, Time::ZERO);
    assert_eq!(session.outgoing(), INCR);
}

const WIDTH: Duration = Duration::from_millis(50);

#[test]
fn more_joins_only_what_was_sent_under_a_lease() {
    let mut session = session_with(&INCR.repeat(2));
    assert!(session.may_join(WIDTH, Time::ZERO), "nothing is in flight");
    session.send(Pass::One, Time::ZERO);
    assert!(!session.may_join(WIDTH, Time::ZERO));

    let mut session = session_with(&INCR.repeat(2));
    session.send(Pass::Free, Time::ZERO);
    assert!(session.may_join(WIDTH, Time::ZERO));
}

#[test]
fn more_joins_only_what_was_sent_a_short_time_ago() {
    let mut session = session_with(&INCR.repeat(2));
    session.send(Pass::Free, Time::ZERO);
    wrote(&mut session, 2 * INCR.len());
    let over = Time::ZERO + WIDTH;
    session.client_bytes(INCR, over, &mut Out::default()).unwrap();
    assert!(!session.may_join(WIDTH, over));
    session.server_bytes(b":1\r\n:2\r\n", over, &mut Out::default()).unwrap();
    assert!(session.may_join(WIDTH, over), "all is answered");
}

#[test]
fn relaxed_order_needs_no_lease() {
    let mut session = Session::new(Policy { strict: false, ..Policy::default() });
    session.client_bytes(&INCR.repeat(2), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    assert!(session.may_join(WIDTH, Time::ZERO + 100 * WIDTH));
}
