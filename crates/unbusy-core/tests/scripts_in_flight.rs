//! How many scripts are in flight, which tells the gate how often it is worth trying.

use unbusy_core::session::{Out, Pass};
use unbusy_core::{Company, Policy, Session, Time};

const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

/// A session that has sent these commands.
fn that_sent(commands: &[&str]) -> Session {
    let mut session = Session::new(Policy::default());
    send(&mut session, commands);
    session
}

fn send(session: &mut Session, commands: &[&str]) {
    let commands = commands.join("\r\n") + "\r\n";
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    assert_eq!(session.outgoing(), commands.as_bytes());
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

/// What was queued before is known only by the replies.
#[test]
fn a_transaction_that_comes_command_by_command_runs_the_scripts_that_it_queued() {
    for (queued, scripts) in
        [(["EVAL a 0", "INCR n"], 1), (["INCR n", "EVAL a 0"], 1), (["INCR n", "GET n"], 0)]
    {
        let mut session = that_sent(&["MULTI"]);
        hear(&mut session, "+OK\r\n");
        for command in queued {
            send(&mut session, &[command]);
            hear(&mut session, "+QUEUED\r\n");
        }
        send(&mut session, &["EXEC"]);
        assert_eq!(session.scripts_in_flight(), scripts, "{queued:?}");
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

#[test]
fn the_first_script_is_told_and_whether_it_may_be_another_that_runs() {
    let of = |commands: &[&str]| {
        let session = that_sent(commands);
        let script = session.script().map(|(command, _)| String::from_utf8_lossy(command).trim().to_owned());
        (script, session.script_company())
    };
    let told = |script: &str, company| (Some(script.to_owned()), company);
    assert_eq!(of(&["GET k", "EVAL a 0", "GET k"]), told("EVAL a 0", Company::Alone));
    assert_eq!(of(&["EVAL a 0", "EVAL b 0"]), told("EVAL a 0", Company::Others));
    assert_eq!(of(&["MULTI", "SET k v", "EVAL a 0", "EXEC"]), told("EVAL a 0", Company::Transaction));
    assert_eq!(of(&["MULTI", "EVAL a 0", "FCALL f 0", "EXEC"]), told("EVAL a 0", Company::Others));
    assert_eq!(of(&["MULTI", "EVAL a 0", "EXEC", "EVAL b 0"]), told("EVAL a 0", Company::Others));
    assert_eq!(of(&["MULTI", "EVAL a 0", "DISCARD", "EVAL b 0"]), told("EVAL b 0", Company::Alone));
    assert_eq!(of(&["GET k"]).0, None);
}

/// What the session tells of scripts when these commands are answered so.
fn told(commands: &[&str], replies: &str) -> Vec<String> {
    let mut session = that_sent(commands);
    session.wrote(session.outgoing().len(), &mut Out::default());
    let mut out = Out::default();
    session.server_bytes(replies.as_bytes(), Time::ZERO, &mut out).unwrap();
    out.scripts().map(|(script, _)| format!("{script:?}")).collect()
}

fn shown(scripts: &[unbusy_core::Script<'_>]) -> Vec<String> {
    scripts.iter().map(|script| format!("{script:?}")).collect()
}

#[test]
fn each_script_that_was_answered_is_told_of() {
    use unbusy_core::Script::{Function, Loaded, Sha1, Text};
    let commands = ["EVAL a 0", "GET k", "EVALSHA abc 0", "FCALL f 0", "SCRIPT LOAD b", "FCALL g 0"];
    assert_eq!(
        told(&commands, ":1\r\n$-1\r\n-ERR no\r\n:1\r\n$1\r\nx\r\n"),
        shown(&[Text(b"a"), Sha1(b"abc"), Function(b"f"), Loaded(b"b")])
    );
    assert_eq!(told(&["SCRIPT LOAD b"], "-NOPERM no\r\n"), shown(&[]));
    let transaction = ["MULTI", "GET k", "EVAL a 0", "EVAL b 0", "EXEC"];
    let replies = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$-1\r\n:1\r\n:1\r\n";
    assert_eq!(told(&transaction, replies), shown(&[Text(b"a")]), "a transaction goes by its first one");
    assert_eq!(told(&["EVAL a 0"], BUSY), shown(&[]), "it did not run");
    // Beyond the limit of an inline command, too.
    for (length, count) in [(64 * 1024, 1), (64 * 1024 + 1, 0)] {
        let long = format!("*3\r\n$4\r\nEVAL\r\n${length}\r\n{}\r\n$1\r\n0", "x".repeat(length));
        assert_eq!(told(&[&long], ":1\r\n").len(), count, "{length} bytes");
    }
}

#[test]
fn none_is_told_of_twice() {
    let mut session = that_sent(&["EVAL a 0"]);
    session.wrote(session.outgoing().len(), &mut Out::default());
    let mut out = Out::default();
    session.server_bytes(b":1\r\n", Time::ZERO, &mut out).unwrap();
    assert_eq!(out.scripts().count(), 1);
    out.clear();
    assert_eq!(out.scripts().count(), 0);
}

#[test]
fn one_that_was_given_up_did_not_end() {
    let mut session = that_sent(&["EVAL a 0"]);
    hear(&mut session, BUSY);
    session.confirm_rejection();
    session.wait_began(Time::ZERO);
    let over = session.deadline().expect("it waits");
    let mut out = Out::default();
    session.expire(Some(Time::ZERO), over, &mut out);
    assert_eq!(out.to_client(&[]), BUSY.as_bytes());
    assert!(!out.script_answered && out.scripts().next().is_none());
}
