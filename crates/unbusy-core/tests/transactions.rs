//! Transactions whose replies are more or fewer than EXEC says.

use unbusy_core::session::{Out, Pass};
use unbusy_core::{Policy, Session, Time};

/// Sends each command when the one before is answered, and says what the client got.
fn play(session: &mut Session, steps: &[(&str, &str)]) {
    for (command, reply) in steps {
        let command = format!("{command}\r\n");
        session.client_bytes(command.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
        session.send(Pass::One, Time::ZERO);
        assert_eq!(session.outgoing(), command.as_bytes());
        session.wrote(command.len(), &mut Out::default());
        let mut out = Out::default();
        session.server_bytes(reply.as_bytes(), Time::ZERO, &mut out).unwrap();
        assert_eq!(out.to_client(reply.as_bytes()), reply.as_bytes());
        assert!(session.is_quiet(), "{command:?} is answered");
    }
}

fn confirmation(kind: &str, name: &str, left: u8) -> String {
    format!(">3\r\n${}\r\n{kind}\r\n$1\r\n{name}\r\n:{left}\r\n", kind.len())
}

#[test]
fn unsubscribing_from_all_answers_once_per_subscription() {
    let mut session = Session::new(Policy::default());
    let subscribed = confirmation("subscribe", "a", 1) + &confirmation("subscribe", "b", 2);
    let unsubscribed = confirmation("unsubscribe", "a", 1) + &confirmation("unsubscribe", "b", 0);
    play(
        &mut session,
        &[
            ("HELLO 3", "%1\r\n+proto\r\n:3\r\n"),
            ("SUBSCRIBE a b", &subscribed),
            ("MULTI", "+OK\r\n"),
            ("UNSUBSCRIBE", "+QUEUED\r\n"),
            ("INCR n", "+QUEUED\r\n"),
            ("EXEC", &format!("*2\r\n{unsubscribed}:1\r\n")),
            ("INCR n", ":2\r\n"),
        ],
    );
}

#[test]
fn what_is_rejected_behind_a_refused_exec_is_no_part_of_its_transaction() {
    const BUSY: &str =
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    let commands = "MULTI\r\nINCR n\r\nEXEC\r\nGET n\r\n";
    let mut session = Session::new(Policy::default());
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    assert_eq!(session.outgoing(), commands.as_bytes());
    session.wrote(commands.len(), &mut Out::default());

    let hear = |session: &mut Session, reply: &str| {
        let mut out = Out::default();
        session.server_bytes(reply.as_bytes(), Time::ZERO, &mut out).unwrap();
        String::from_utf8(out.to_client(reply.as_bytes())).unwrap()
    };
    let refusal = format!("-EXECABORT Transaction discarded because of: {BUSY}-{BUSY}");
    assert_eq!(hear(&mut session, "+OK\r\n+QUEUED\r\n"), "+OK\r\n+QUEUED\r\n");
    assert_eq!(hear(&mut session, &refusal), "", "both are held");

    // EXEC alone asks whether the server is open; then all of it goes again.
    for (sent, reply, got) in [
        ("EXEC\r\n", "-ERR EXEC without MULTI\r\n", ""),
        (commands, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n$1\r\n1\r\n", "*1\r\n:1\r\n$1\r\n1\r\n"),
    ] {
        session.send(Pass::Free, Time::ZERO);
        assert_eq!(session.outgoing(), sent.as_bytes());
        session.wrote(sent.len(), &mut Out::default());
        assert_eq!(hear(&mut session, reply), got);
    }
    assert!(session.is_quiet());
}

/// The server tells of rejections that are long over, so they are none of its present state.
#[test]
fn a_transaction_that_was_spoiled_before_shows_that_the_server_is_open() {
    const BUSY: &str =
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    const SPOILED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    let mut session = Session::new(Policy::default());
    let mut step = |at: u64, command: &str, sent: &str, reply: &str| {
        let now = Time::from_nanos(at);
        session.client_bytes(command.as_bytes(), now, &mut Out::default()).unwrap();
        session.send(Pass::One, now);
        assert_eq!(session.outgoing(), sent.as_bytes());
        session.wrote(sent.len(), &mut Out::default());
        let mut out = Out::default();
        session.server_bytes(reply.as_bytes(), now, &mut out).unwrap();
        let got = String::from_utf8(out.to_client(reply.as_bytes())).unwrap();
        (got, out.proof.is_some(), out.rejection.is_some())
    };
    let told = |text: &str, proof, rejection| (text.to_owned(), proof, rejection);
    assert_eq!(step(1, "MULTI\r\n", "MULTI\r\n", "+OK\r\n"), told("+OK\r\n", false, false));
    assert_eq!(step(2, "INCR n\r\n", "INCR n\r\n", BUSY), told("+QUEUED\r\n", false, true));
    assert_eq!(step(3, "EXEC\r\n", "EXEC\r\n", SPOILED), told("", true, false));
    assert_eq!(step(4, "", "EXEC\r\n", "-ERR EXEC without MULTI\r\n"), told("", true, false));
    let again = "MULTI\r\nINCR n\r\nEXEC\r\n";
    assert_eq!(step(5, "", again, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"), told("*1\r\n:1\r\n", true, false));
}

const REJECTION: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

/// What the client gets of this reply, and whether it told of BUSY.
fn hear(session: &mut Session, reply: &str) -> (String, bool) {
    let mut out = Out::default();
    session.server_bytes(reply.as_bytes(), Time::ZERO, &mut out).unwrap();
    (String::from_utf8(out.to_client(reply.as_bytes())).unwrap(), out.rejection.is_some())
}

/// What goes to the server when the client has sent this.
fn send(session: &mut Session, commands: &str) -> String {
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    let sent = String::from_utf8(session.outgoing().to_vec()).unwrap();
    session.wrote(sent.len(), &mut Out::default());
    sent
}

#[test]
fn behind_discard_a_command_is_in_no_transaction() {
    let mut session = Session::new(Policy::default());
    play(&mut session, &[("MULTI", "+OK\r\n"), ("INCR n", "+QUEUED\r\n"), ("DISCARD", "+OK\r\n")]);
    assert_eq!(send(&mut session, "GET k\r\n"), "GET k\r\n");
    assert_eq!(hear(&mut session, REJECTION), (String::new(), true), "it is held, and not queued");
    assert_eq!(send(&mut session, ""), "GET k\r\n");
    assert_eq!(hear(&mut session, "$-1\r\n").0, "$-1\r\n");
}

/// Under WATCH it would be the null reply.
#[test]
fn behind_unwatch_a_discarded_transaction_is_sent_again() {
    let mut session = Session::new(Policy::default());
    play(&mut session, &[("WATCH k", "+OK\r\n"), ("UNWATCH", "+OK\r\n"), ("MULTI", "+OK\r\n")]);
    assert_eq!(send(&mut session, "INCR n\r\n"), "INCR n\r\n");
    assert_eq!(hear(&mut session, REJECTION).0, "+QUEUED\r\n");
    assert_eq!(send(&mut session, "EXEC\r\n"), "EXEC\r\n");
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
    assert_eq!(hear(&mut session, &abort), (String::new(), true));
}

/// It could be executed, and the transaction in front of it not.
#[test]
fn nothing_follows_an_exec_that_will_be_refused() {
    let mut session = Session::new(Policy::default());
    play(&mut session, &[("MULTI", "+OK\r\n")]);
    send(&mut session, "INCR n\r\n");
    assert_eq!(hear(&mut session, REJECTION).0, "+QUEUED\r\n");
    assert_eq!(send(&mut session, "EXEC\r\nGET n\r\n"), "EXEC\r\n");
    let mut session = Session::new(Policy::default());
    play(&mut session, &[("MULTI", "+OK\r\n"), ("INCR n", "+QUEUED\r\n")]);
    assert_eq!(send(&mut session, "EXEC\r\nGET n\r\n"), "EXEC\r\nGET n\r\n", "this one will not");
}

/// The script behind it was executed, so the transaction cannot be any more.
#[test]
fn a_transaction_in_front_of_a_hole_is_over() {
    let mut session = Session::new(Policy::default());
    let commands = "MULTI\r\nINCR number\r\nEXEC\r\nEVAL s 0\r\nGET d\r\n";
    assert_eq!(send(&mut session, &format!("GET x\r\n{commands}")), "GET x\r\n");
    assert_eq!(hear(&mut session, "$1\r\nx\r\n").0, "$1\r\nx\r\n");
    assert_eq!(send(&mut session, ""), commands);
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
    let replies = format!("+OK\r\n{REJECTION}{abort}:1\r\n{REJECTION}");
    assert_eq!(hear(&mut session, &replies), (format!("+OK\r\n+QUEUED\r\n{abort}:1\r\n"), true));
    assert_eq!(send(&mut session, ""), "GET d\r\n");
    assert_eq!(hear(&mut session, REJECTION), (String::new(), true), "it is held, and not queued");
    assert_eq!(send(&mut session, ""), "GET d\r\n");
    assert_eq!(hear(&mut session, "$1\r\nd\r\n").0, "$1\r\nd\r\n");
    assert!(session.is_quiet());
}

/// A session whose transaction of one command a busy server discarded, and that sends it again.
fn sent_again_as_a_whole(commands: &str) -> Session {
    let mut session = Session::new(Policy::default());
    assert_eq!(send(&mut session, commands), commands);
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
    assert_eq!(hear(&mut session, &format!("+OK\r\n+QUEUED\r\n{abort}")).0, "+OK\r\n+QUEUED\r\n");
    assert_eq!(send(&mut session, ""), "EXEC\r\n");
    assert_eq!(hear(&mut session, "-ERR EXEC without MULTI\r\n").0, "");
    assert_eq!(send(&mut session, ""), commands);
    session
}

/// A server skips a command of no words, in a transaction as well.
#[test]
fn what_is_never_answered_is_sent_again_with_its_transaction() {
    let commands = "MULTI\r\n*0\r\nINCR n\r\nEXEC\r\n";
    let mut session = sent_again_as_a_whole(commands);
    assert_eq!(hear(&mut session, "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n").0, "*1\r\n:1\r\n");
    assert!(session.is_quiet());
}

/// The client has had its replies, up to EXEC's.
#[test]
fn what_fails_when_a_transaction_is_sent_again_is_told_by_exec_alone() {
    const SPOILED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    let commands = "MULTI\r\nINCR n\r\nEXEC\r\n";
    let mut session = sent_again_as_a_whole(commands);
    assert_eq!(hear(&mut session, &format!("+OK\r\n-OOM no memory\r\n{SPOILED}")).0, SPOILED);
    assert!(session.is_quiet());
}

/// A busy server says no other.
#[test]
fn exec_without_a_transaction_is_held_and_needs_no_probe() {
    const NONE: &str = "-ERR EXEC without MULTI\r\n";
    let mut session = Session::new(Policy::default());
    assert_eq!(send(&mut session, "EXEC\r\n"), "EXEC\r\n");
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
    assert_eq!(hear(&mut session, &abort), (String::new(), true));
    assert_eq!(send(&mut session, ""), "EXEC\r\n");
    assert_eq!(hear(&mut session, NONE).0, NONE);
    assert!(session.is_quiet());
}

/// No key is watched any more, which its client must know.
#[test]
fn under_watch_it_is_not_held() {
    let mut session = Session::new(Policy::default());
    play(&mut session, &[("WATCH k", "+OK\r\n")]);
    send(&mut session, "EXEC\r\n");
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
    assert_eq!(hear(&mut session, &abort), (abort, false));
    assert!(session.is_quiet());
}

/// A slot that moves away takes the transaction with it, whatever else has struck it.
#[test]
fn an_exec_that_is_refused_for_another_reason_is_not_sent_again() {
    const MOVED: &str = "-MOVED 3999 127.0.0.1:6381\r\n";
    let mut session = Session::new(Policy::default());
    play(&mut session, &[("MULTI", "+OK\r\n")]);
    send(&mut session, "INCR n\r\n");
    assert_eq!(hear(&mut session, REJECTION).0, "+QUEUED\r\n");
    assert_eq!(send(&mut session, "EXEC\r\n"), "EXEC\r\n");
    assert_eq!(hear(&mut session, MOVED).0, MOVED);
    assert!(session.is_quiet());
}

/// Servers refuse them without a word about the transaction, which they execute.
#[test]
fn a_transaction_in_which_multi_or_watch_was_refused_is_sent_again_all_the_same() {
    for (command, error) in [
        ("MULTI\r\n", "-ERR MULTI calls can not be nested\r\n"),
        ("WATCH k\r\n", "-ERR WATCH inside MULTI is not allowed\r\n"),
    ] {
        let mut session = Session::new(Policy::default());
        play(&mut session, &[("MULTI", "+OK\r\n")]);
        assert_eq!(send(&mut session, command), command);
        assert_eq!(hear(&mut session, error).0, error);
        play(&mut session, &[("INCR n", "+QUEUED\r\n")]);
        send(&mut session, "EXEC\r\n");
        let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
        assert_eq!(hear(&mut session, &abort), (String::new(), true));
        assert!(session.is_held());
    }
}

/// It cannot be kept to be sent again, so its client is told what the server says.
#[test]
fn a_transaction_beyond_the_limit_is_not_sent_again() {
    for (length, too_large) in [(1 << 20, false), (16 << 20, true)] {
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n{}\r\n", "x".repeat(length));
        let mut session = Session::new(Policy::default());
        play(&mut session, &[("PING", "+PONG\r\n"), ("MULTI", "+OK\r\n")]);
        for _ in 0..4 {
            session.client_bytes(set.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
            session.send(Pass::One, Time::ZERO);
            session.wrote(session.outgoing().len(), &mut Out::default());
            assert_eq!(hear(&mut session, "+QUEUED\r\n").0, "+QUEUED\r\n");
        }
        send(&mut session, "EXEC\r\n");
        let abort = format!("-EXECABORT Transaction discarded because of: {}", &REJECTION[1..]);
        assert_eq!(hear(&mut session, &abort).0, if too_large { &abort } else { "" });
        assert_eq!(session.is_held(), !too_large);
    }
}
