//! The budget is over: what the client gets, and what may go on.

use std::time::Duration;

use unbusy_core::session::{Out, Pass};
use unbusy_core::{Policy, Session, Time};

const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const LATER: Time = Time::from_nanos(2_000_000_000);

/// A session that has waited at the gate for its whole budget without ever having been rejected.
fn that_waited(commands: &str) -> Session {
    let policy = Policy { max_wait: Duration::from_secs(1), ..Policy::default() };
    let mut session = Session::new(policy);
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.wait_began(Time::ZERO);
    session.expire(Some(Time::ZERO), LATER, &mut Out::default());
    session
}

/// Sends what may be sent.
fn sent(session: &mut Session) -> String {
    session.send(Pass::One, LATER);
    let bytes = String::from_utf8(session.outgoing().to_vec()).unwrap();
    session.wrote(bytes.len(), &mut Out::default());
    bytes
}

fn hear(session: &mut Session, reply: &str) -> String {
    let mut out = Out::default();
    session.server_bytes(reply.as_bytes(), LATER, &mut out).unwrap();
    String::from_utf8(out.to_client(reply.as_bytes())).unwrap()
}

#[test]
fn behind_a_select_that_is_rejected_in_its_last_try_every_command_gets_its_error() {
    let mut session = that_waited("SELECT 3\r\nSET k v\r\nGET k\r\n");
    assert_eq!(sent(&mut session), "SELECT 3\r\n");
    assert_eq!(hear(&mut session, BUSY), BUSY.repeat(3));
    assert!(session.is_quiet());
}

#[test]
fn behind_a_select_that_fails_by_itself_in_its_last_try_all_goes_on() {
    let mut session = that_waited("SELECT 99\r\nGET k\r\n");
    assert_eq!(sent(&mut session), "SELECT 99\r\n");
    let failure = "-ERR DB index is out of range\r\n";
    assert_eq!(hear(&mut session, failure), failure);
    assert_eq!(sent(&mut session), "GET k\r\n");
    assert_eq!(hear(&mut session, "$-1\r\n"), "$-1\r\n");
}
