//! How many scripts are in flight, which tells the gate how often it is worth trying.

use unbusy_core::session::{Out, Pass};
use unbusy_core::{Policy, Session, Time};

const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

/// A session that has sent these commands.
fn that_sent(commands: &[&str]) -> Session {
    let commands = commands.join("\r\n") + "\r\n";
    let mut session = Session::new(Policy::default());
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    assert_eq!(session.outgoing(), commands.as_bytes());
    session
}

fn hear(session: &mut Session, reply: &str) {
    session.wrote(session.outgoing().len(), &mut Out::default());
    session.server_bytes(reply.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
}

#[test]
fn a_pipelined_transaction_with_scripts_leaves_none() {
    for end in ["EXEC", "DISCARD"] {
        let mut session = that_sent(&["MULTI", "EVAL a 0", "EVAL b 0", "INCR n", end, "EVAL c 0"]);
        assert_eq!(session.scripts_in_flight(), 1 + u32::from(end == "EXEC"));
        hear(&mut session, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n:1\r\n:1\r\n");
        assert_eq!(session.scripts_in_flight(), 1);
        hear(&mut session, ":1\r\n");
        assert_eq!(session.scripts_in_flight(), 0);
    }
}

#[test]
fn what_is_taken_back_is_in_flight_no_more() {
    let mut session = that_sent(&["MULTI", "EVAL a 0", "EXEC", "EVAL b 0"]);
    session.wrote("MULTI\r\n".len(), &mut Out::default());
    session.server_bytes(b"+OK\r\n", Time::ZERO, &mut Out::default()).unwrap();
    session.take_back();
    assert_eq!(session.scripts_in_flight(), 0);
}

#[test]
fn a_script_that_is_refused_behind_a_rejected_command_is_in_flight_no_more() {
    let mut session = that_sent(&["GET k", "EVAL a 0"]);
    hear(&mut session, &format!("{BUSY}-NOPERM no\r\n"));
    assert_eq!(session.scripts_in_flight(), 0);
    session.send(Pass::Free, Time::ZERO);
    hear(&mut session, "$-1\r\n-NOPERM no\r\n");
    assert_eq!(session.scripts_in_flight(), 0);
}

#[test]
fn the_answer_to_a_script_is_told() {
    for (command, tells) in [("EVAL a 0", true), ("INCR n", false)] {
        let mut session = that_sent(&[command]);
        session.wrote(session.outgoing().len(), &mut Out::default());
        let mut out = Out::default();
        session.server_bytes(b":1\r\n", Time::ZERO, &mut out).unwrap();
        assert_eq!(out.script_answered, tells);
    }
}
