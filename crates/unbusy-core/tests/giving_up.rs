//! The budget is over: what the client gets, and what may go on.

use std::time::Duration;

use unbusy_core::session::{GivenUp, Out, Pass, Want};
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

/// A session whose client has had these commands sent and rejected, and has waited for its whole budget then.
fn that_was_rejected(commands: &str, replies: &[&str]) -> (Session, Out) {
    let policy = Policy { max_wait: Duration::from_secs(1), ..Policy::default() };
    let mut session = Session::new(policy);
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    let mut pass = Pass::Free;
    for reply in replies.iter().filter(|reply| !reply.is_empty()) {
        session.send(pass, Time::ZERO);
        session.wrote(session.outgoing().len(), &mut Out::default());
        session.server_bytes(reply.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
        pass = Pass::One;
    }
    let mut out = Out::default();
    session.expire(Some(Time::ZERO), LATER, &mut out);
    (session, out)
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
    session.unpoison();
    session.client_bytes(b"PING\r\n", LATER, &mut Out::default()).unwrap();
    assert_eq!(sent(&mut session), "PING\r\n", "of the others nothing is left");
}

#[test]
fn a_command_of_which_a_part_came_before_the_failure_gets_the_error_as_well() {
    let mut session = that_waited("SELECT 3\r\nGE");
    assert_eq!(sent(&mut session), "SELECT 3\r\n");
    assert_eq!(hear(&mut session, BUSY), BUSY);
    session.unpoison();
    let mut out = Out::default();
    session.client_bytes(b"T k\r\n", LATER, &mut out).unwrap();
    assert_eq!(out.to_client(&[]), BUSY.as_bytes());
    assert!(session.is_poisoned());
    session.unpoison();
    assert!(!session.is_poisoned());
    session.client_bytes(b"PING\r\n", LATER, &mut Out::default()).unwrap();
    assert_eq!(sent(&mut session), "PING\r\n");
}

#[test]
fn in_a_transaction_a_select_that_is_rejected_in_its_last_try_keeps_nothing_from_the_server() {
    let mut session = Session::new(Policy { max_wait: Duration::from_secs(1), ..Policy::default() });
    session.client_bytes(b"MULTI\r\n", Time::ZERO, &mut Out::default()).unwrap();
    sent(&mut session);
    hear(&mut session, "+OK\r\n");
    session.client_bytes(b"SELECT 3\r\nEXEC\r\n", Time::ZERO, &mut Out::default()).unwrap();
    session.wait_began(Time::ZERO);
    session.expire(Some(Time::ZERO), LATER, &mut Out::default());
    assert_eq!(sent(&mut session), "SELECT 3\r\n");
    assert_eq!(hear(&mut session, BUSY), BUSY);
    assert_eq!(sent(&mut session), "EXEC\r\n", "or the server stays in the transaction");
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

#[test]
fn a_rejection_that_is_endless_is_cut_but_still_a_reply() {
    let long = format!("-BUSY {}\r\n", "x".repeat(1000));
    for cut in [1, 511, 512, 513, 1007, long.len()] {
        let (session, out) = that_was_rejected("GET k\r\n", &[&long[..cut], &long[cut..]]);
        assert!(session.is_quiet());
        assert_eq!(out.to_client(&[]), format!("{}\r\n", &long[..512]).as_bytes(), "cut at {cut}");
    }
}

#[test]
fn a_command_gets_its_own_rejection_and_not_that_of_another_behind_it() {
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
    let (_, out) = that_was_rejected("GET k\r\nEXEC\r\n", &[BUSY, &abort]);
    assert_eq!(out.given_up, 2);
    assert!(out.to_client(&[]).starts_with(BUSY.as_bytes()), "{}", out.to_client(&[]).escape_ascii());
}

#[test]
fn the_first_that_is_given_up_is_told_by_its_name() {
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
    for (commands, replies, name) in [
        ("get secret\r\nEXEC\r\n", vec![BUSY, &abort], "GET"),
        ("SELECT 1\r\nGET k\r\n", vec![BUSY], "SELECT"),
        ("\"\x1b[2J\" x\r\n", vec![BUSY], "\\x1B[2J"),
    ] {
        let (_, out) = that_was_rejected(commands, &replies);
        let GivenUp { command, since } = out.first_given_up.expect("something was given up");
        assert_eq!(
            (command.to_ascii_uppercase().as_str(), since),
            (name.to_ascii_uppercase().as_str(), Some(Time::ZERO))
        );
    }
}

#[test]
fn a_transaction_that_is_being_sent_again_is_not_left_half_sent() {
    // Too large to be sent as one.
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000\r\n{}\r\n", "x".repeat(20_000));
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
    let (mut session, out) = that_was_rejected(
        &format!("MULTI\r\n{set}EXEC\r\n"),
        &["+OK\r\n+QUEUED\r\n", &abort, "-ERR EXEC without MULTI\r\n", "+OK\r\n"],
    );
    assert_eq!(out.to_client(&[]), b"", "the server is in a transaction");
    assert_eq!(sent(&mut session), set);
    assert_eq!(hear(&mut session, "+QUEUED\r\n"), "");
    assert_eq!(sent(&mut session), "EXEC\r\n");
    assert_eq!(hear(&mut session, "*1\r\n+OK\r\n"), "*1\r\n+OK\r\n");
    assert!(session.is_quiet());
}

#[test]
fn each_command_gets_its_own_words() {
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
    let commands = "MULTI\r\nINCR n\r\nEXEC\r\nGET n\r\n";
    let (session, out) = that_was_rejected(commands, &["+OK\r\n+QUEUED\r\n", &abort, BUSY]);
    assert_eq!(String::from_utf8(out.to_client(b"")).unwrap(), abort + BUSY);
    assert!(session.is_quiet());
}

/// One that never was counts only from when the server is known to be busy.
#[test]
fn a_command_that_was_rejected_counts_from_then_whatever_came_between() {
    let policy = Policy { max_wait: Duration::from_secs(1), ..Policy::default() };
    let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
    for (reply, given_up) in [(Some(BUSY), 1), (None, 0)] {
        let mut session = Session::new(policy);
        session.client_bytes(b"GET k\r\n", at(1), &mut Out::default()).unwrap();
        if let Some(reply) = reply {
            session.send(Pass::Free, at(1));
            session.wrote(session.outgoing().len(), &mut Out::default());
            session.server_bytes(reply.as_bytes(), at(1), &mut Out::default()).unwrap();
        }
        session.wait_began(at(1));
        let mut out = Out::default();
        session.expire(Some(at(900)), at(1001), &mut out);
        assert_eq!(out.given_up, given_up, "{reply:?}");
        assert!(given_up == 1 || session.want() != Want::Pass, "its last try is still to come");
    }
}

/// Otherwise a command that is tried again and again would wait for ever.
#[test]
fn the_budget_begins_with_the_first_rejection() {
    let mut session = Session::new(Policy { max_wait: Duration::from_secs(1), ..Policy::default() });
    session.client_bytes(b"GET k\r\n", Time::ZERO, &mut Out::default()).unwrap();
    for millis in [0, 400, 800] {
        let now = Time::from_nanos(millis * 1_000_000);
        session.send(Pass::One, now);
        session.wrote(session.outgoing().len(), &mut Out::default());
        session.server_bytes(BUSY.as_bytes(), now, &mut Out::default()).unwrap();
        assert_eq!(session.deadline(), Some(Time::from_nanos(1_000_000_000)), "rejected after {millis} ms");
    }
}

/// It was not rejected meanwhile; but its budget is no longer for that if it was over already.
#[test]
fn a_command_that_waited_for_others_has_its_whole_budget_when_it_is_rejected() {
    let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
    for (rejected, over) in [(500, 1500), (1200, 1000)] {
        let mut session = Session::new(Policy { max_wait: Duration::from_secs(1), ..Policy::default() });
        session.client_bytes(b"GET k\r\n", Time::ZERO, &mut Out::default()).unwrap();
        session.wait_began(Time::ZERO);
        session.send(Pass::One, at(rejected));
        session.wrote(session.outgoing().len(), &mut Out::default());
        session.server_bytes(BUSY.as_bytes(), at(rejected), &mut Out::default()).unwrap();
        assert_eq!(session.deadline(), Some(at(over)), "rejected after {rejected} ms");
    }
}

/// The answer is the client's, so nothing may stand behind it that could be executed while it is not.
#[test]
fn the_last_try_goes_alone_even_under_a_lease() {
    let mut session = that_waited("GET a\r\nGET b\r\n");
    session.send(Pass::Free, LATER);
    assert_eq!(session.outgoing(), b"GET a\r\n");
}

/// What goes to the server when the client has sent these commands, what the client gets of the replies, and how many commands
/// are given up.
fn exchange(session: &mut Session, commands: &str, replies: &str) -> (String, String, u64) {
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    let sent = String::from_utf8(session.outgoing().to_vec()).unwrap();
    session.wrote(sent.len(), &mut Out::default());
    let mut out = Out::default();
    session.server_bytes(replies.as_bytes(), Time::ZERO, &mut out).unwrap();
    (sent, String::from_utf8(out.to_client(replies.as_bytes())).unwrap(), out.given_up)
}

#[test]
fn a_hole_gives_up_what_was_rejected_in_front_of_it_and_nothing_else() {
    let mut session = Session::new(Policy::default());
    let mut line = |commands, replies| exchange(&mut session, commands, replies);
    let first = "GET x\r\nGET a\r\nGET bb\r\nEVAL s 0\r\nGET ccc\r\nGET d\r\n";
    let replies = format!("$1\r\nx\r\n{BUSY}{BUSY}:1\r\n{BUSY}{BUSY}");
    let got = format!("$1\r\nx\r\n{BUSY}{BUSY}:1\r\n");
    assert_eq!(line(first, &replies), (first.to_owned(), got, 2));
    let rest = "GET ccc\r\nGET d\r\n";
    assert_eq!(line("", "$1\r\nc\r\n$1\r\nd\r\n"), (rest.to_owned(), "$1\r\nc\r\n$1\r\nd\r\n".to_owned(), 0));
}

#[test]
fn behind_a_hole_it_goes_on_at_the_right_byte() {
    let mut session = Session::new(Policy::default());
    let mut line = |commands, replies| exchange(&mut session, commands, replies);
    let first = "GET a\r\nEVAL s 0\r\nGET ccc\r\n";
    let replies = format!("{BUSY}:1\r\n$1\r\nc\r\n");
    assert_eq!(line(first, &replies), (first.to_owned(), replies.clone(), 1));
    let told = |command: &str, reply: &str| (command.to_owned(), reply.to_owned(), 0);
    assert_eq!(line("GET d\r\n", "$1\r\nd\r\n"), told("GET d\r\n", "$1\r\nd\r\n"));
}

#[test]
fn an_exec_that_is_refused_in_its_last_try_is_given_up() {
    let abort = format!("-EXECABORT Transaction discarded because of: {}", &BUSY[1..]);
    let refused = |session: &mut Session| {
        assert_eq!(sent(session), "EXEC\r\n");
        let mut out = Out::default();
        session.server_bytes(abort.as_bytes(), LATER, &mut out).unwrap();
        assert_eq!(String::from_utf8(out.to_client(abort.as_bytes())).unwrap(), abort);
        assert!(session.is_quiet());
        out.given_up
    };
    // A busy server refuses it so although there is no transaction.
    assert_eq!(refused(&mut that_waited("EXEC\r\n")), 1);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000\r\n{}\r\n", "x".repeat(20_000));
    let (mut session, _) = that_was_rejected(
        &format!("MULTI\r\n{set}EXEC\r\n"),
        &["+OK\r\n+QUEUED\r\n", &abort, "-ERR EXEC without MULTI\r\n", "+OK\r\n"],
    );
    assert_eq!(sent(&mut session), set);
    assert_eq!(hear(&mut session, "+QUEUED\r\n"), "");
    assert_eq!(refused(&mut session), 1);
}

/// It may have written before it failed.
#[test]
fn a_script_that_fails_behind_a_rejected_command_is_not_run_again() {
    for (error, ran) in [
        ("-ERR Error running script (call to f_abc): @user_script:1: no\r\n", true),
        (
            "-WRONGTYPE Operation against a key holding the wrong kind of value script: abc, on @user_script:1.\r\n",
            true,
        ),
        (
            "-OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:1.\r\n",
            true,
        ),
        ("-HALFDONE says the script\r\n", true),
        ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", false),
        ("-NOPERM this user has no permissions to run the 'eval' command\r\n", false),
        ("-NOSCRIPT No matching script. Please use EVAL.\r\n", false),
    ] {
        let mut session = Session::new(Policy::default());
        let (_, got, given_up) = exchange(&mut session, "GET a\r\nEVAL s 0\r\n", &format!("{BUSY}{error}"));
        assert_eq!((got, given_up), if ran { (format!("{BUSY}{error}"), 1) } else { (String::new(), 0) });
        assert_eq!(session.is_held(), !ran, "{error}");
    }
}

/// ASKING goes in front of every try; nothing of that is under way.
#[test]
fn what_needs_another_command_in_front_is_given_up_as_soon() {
    let (session, out) = that_was_rejected("ASKING\r\nGET k\r\n", &["+OK\r\n", BUSY]);
    assert_eq!((out.to_client(&[]), out.given_up), (BUSY.into(), 1));
    assert!(session.is_quiet());
}

#[test]
fn the_words_that_another_command_was_told_do_not_count_against_one_that_only_waited() {
    let mut session = Session::new(Policy { max_wait: Duration::from_secs(1), ..Policy::default() });
    exchange(&mut session, "GET a\r\n", BUSY);
    exchange(&mut session, "", "$-1\r\n");
    session.client_bytes(b"GET b\r\n", Time::ZERO, &mut Out::default()).unwrap();
    session.wait_began(Time::ZERO);
    let mut out = Out::default();
    session.expire(Some(Time::ZERO), LATER, &mut out);
    assert_eq!((out.given_up, session.want()), (0, Want::Pass), "it is tried once");
}

#[test]
fn a_client_that_wants_no_replies_is_not_told() {
    for (mode, told) in [("ON", BUSY), ("OFF", ""), ("SKIP", "")] {
        let mut session = Session::new(Policy { max_wait: Duration::from_secs(1), ..Policy::default() });
        exchange(&mut session, &format!("CLIENT REPLY {mode}\r\n"), "+OK\r\n");
        exchange(&mut session, "GET k\r\n", BUSY);
        let mut out = Out::default();
        session.expire(Some(Time::ZERO), LATER, &mut out);
        assert_eq!((out.to_client(&[]), out.given_up), (told.into(), 1), "{mode}");
    }
}
