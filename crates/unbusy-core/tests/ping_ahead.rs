//! PING of the session's own. A script can answer with the server's own BUSY text: a PING in one piece with it tells which of
//! both it was. And a command that may be answered late says nothing of the server: a PING asks in its place.

use unbusy_core::session::{Out, Pass, SessionError, Want};
use unbusy_core::{Policy, Session, Time};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const SCRIPT: &[u8] = b"EVALSHA 5332031c6b470dc5a0dd9b4bf2030dea6d65de91 0\r\n";
const BUSY: &[u8] =
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

fn session_with(bytes: &[u8]) -> Session {
    let mut session = Session::new(Policy::default());
    session.client_bytes(bytes, Time::ZERO, &mut Out::default()).unwrap();
    session
}

/// Sends under `pass` and writes it all; what the server got.
fn sent(session: &mut Session, pass: Pass) -> Vec<u8> {
    session.send(pass, Time::ZERO);
    let bytes = session.outgoing().to_vec();
    session.wrote(bytes.len(), &mut Out::default());
    bytes
}

/// What the client gets when the server answers so.
fn answer(session: &mut Session, bytes: &[u8]) -> Result<Vec<u8>, SessionError> {
    let mut out = Out::default();
    session.server_bytes(bytes, Time::ZERO, &mut out)?;
    Ok(out.to_client(bytes))
}

#[test]
fn both_rejected_is_a_rejection_beyond_doubt() {
    let mut session = session_with(SCRIPT);
    assert_eq!(sent(&mut session, Pass::One), [PING, SCRIPT].concat());
    assert_eq!(answer(&mut session, &BUSY.repeat(2)).unwrap(), b"");
    assert!(session.is_held());
    assert_eq!(session.doubt(), None);
    assert!(matches!(session.want(), Want::Gate(ask) if ask.scout));
}

#[test]
fn an_answered_ping_makes_the_text_the_scripts_own() {
    let mut session = session_with(SCRIPT);
    sent(&mut session, Pass::One);
    assert_eq!(answer(&mut session, &[b"+PONG\r\n", BUSY].concat()).unwrap(), BUSY);
    assert!(!session.is_held());
    assert!(session.is_quiet(), "it must not run again");
}

#[test]
fn replies_in_pieces_tell_the_same() {
    let mut session = session_with(SCRIPT);
    sent(&mut session, Pass::One);
    let mut got = Vec::new();
    for byte in [b"+PONG\r\n", BUSY].concat() {
        got.extend(answer(&mut session, &[byte]).unwrap());
    }
    assert_eq!(got, BUSY);
}

#[test]
fn a_refused_ping_tells_nothing() {
    let mut session = session_with(SCRIPT);
    sent(&mut session, Pass::One);
    let refused = b"-NOPERM User limited has no permissions to run the 'ping' command\r\n";
    assert_eq!(answer(&mut session, &[refused, BUSY].concat()).unwrap(), b"");
    assert!(session.doubt().is_some());
}

#[test]
fn what_the_server_could_read_apart_tells_nothing() {
    let mut session = session_with(SCRIPT);
    session.send(Pass::One, Time::ZERO);
    session.wrote(PING.len() + 3, &mut Out::default());
    let rest = session.outgoing().len();
    session.wrote(rest, &mut Out::default());
    assert_eq!(answer(&mut session, &[b"+PONG\r\n", BUSY].concat()).unwrap(), b"");
    assert!(session.doubt().is_some());
}

#[test]
fn held_and_sent_again_it_is_answered_once() {
    let mut session = session_with(&[SCRIPT, SCRIPT].concat());
    sent(&mut session, Pass::One);
    answer(&mut session, &BUSY.repeat(2)).unwrap();
    assert_eq!(sent(&mut session, Pass::One), PING, "the server is asked, not the script");
    assert_eq!(answer(&mut session, b"+PONG\r\n").unwrap(), b"");
    assert_eq!(sent(&mut session, Pass::Free), [PING, SCRIPT, SCRIPT].concat());
    assert_eq!(answer(&mut session, b"+PONG\r\n:1\r\n:2\r\n").unwrap(), b":1\r\n:2\r\n");
    assert!(session.is_quiet());
}

#[test]
fn scripts_that_were_told_the_same_in_one_pipeline_do_not_run_again_either() {
    const UNKNOWN: &[u8] = b"-ERR unknown command 'x'\r\n";
    let mut session = session_with(&[SCRIPT, SCRIPT, b"x\r\n", SCRIPT, b"GET k\r\n"].concat());
    sent(&mut session, Pass::Free);
    assert_eq!(answer(&mut session, &[BUSY, BUSY, UNKNOWN, BUSY, BUSY].concat()).unwrap(), b"");
    assert!(session.doubt().is_some());
    assert_eq!(sent(&mut session, Pass::One), PING);
    assert_eq!(answer(&mut session, b"+PONG\r\n").unwrap(), BUSY.repeat(2));
    // An error has had no effect, so it may come again, and GET was rejected for sure.
    assert_eq!(sent(&mut session, Pass::Free), b"x\r\n");
    assert_eq!(answer(&mut session, UNKNOWN).unwrap(), [UNKNOWN, BUSY].concat());
    assert_eq!(sent(&mut session, Pass::Free), b"GET k\r\n");
    assert_eq!(answer(&mut session, b"$-1\r\n").unwrap(), b"$-1\r\n");
    assert!(session.is_quiet());
}

#[test]
fn behind_a_command_that_was_rejected_for_sure_a_script_was_rejected_too() {
    let mut session = session_with(&[SCRIPT, b"GET k\r\n", SCRIPT].concat());
    sent(&mut session, Pass::Free);
    assert_eq!(answer(&mut session, &BUSY.repeat(3)).unwrap(), b"");
    assert_eq!(sent(&mut session, Pass::One), PING);
    assert_eq!(answer(&mut session, b"+PONG\r\n").unwrap(), BUSY);
    assert_eq!(sent(&mut session, Pass::Free), [b"GET k\r\n", SCRIPT].concat());
}

#[test]
fn nothing_comes_between_commands_that_belong_together() {
    let script_behind = |before: &[u8], reply: &[u8]| {
        let mut session = session_with(before);
        sent(&mut session, Pass::One);
        answer(&mut session, reply).unwrap();
        session.client_bytes(SCRIPT, Time::ZERO, &mut Out::default()).unwrap();
        sent(&mut session, Pass::One)
    };
    assert_eq!(script_behind(b"GET k\r\n", b"$-1\r\n"), [PING, SCRIPT].concat());
    assert_eq!(script_behind(b"ASKING\r\n", b"+OK\r\n"), SCRIPT);
    assert_eq!(script_behind(b"MULTI\r\n", b"+OK\r\n"), SCRIPT);
    assert_eq!(script_behind(b"SUBSCRIBE a\r\n", b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"), SCRIPT);
    assert_eq!(script_behind(b"MONITOR\r\n", b"+OK\r\n"), SCRIPT);
}

#[test]
fn only_scripts_sent_alone_and_small_ones_are_asked_about() {
    assert_eq!(sent(&mut session_with(SCRIPT), Pass::Free), SCRIPT);
    assert_eq!(sent(&mut session_with(b"GET k\r\n"), Pass::One), b"GET k\r\n");
    let script = |bytes: usize| format!("EVAL {} 0\r\n", "x".repeat(bytes - 9)).into_bytes();
    let small = script(1200 - PING.len());
    assert_eq!(
        sent(&mut session_with(&small), Pass::One),
        [PING, &small].concat(),
        "both fit into a segment"
    );
    let large = script(1201 - PING.len());
    assert_eq!(sent(&mut session_with(&large), Pass::One), large);
}

#[test]
fn scripts_that_a_busy_server_rejected_run_although_the_first_one_speaks_like_it() {
    let ping_rejected = |session: &mut Session| {
        assert_eq!(sent(session, Pass::One), PING);
        assert_eq!(answer(session, BUSY).unwrap(), b"");
    };
    let confirmed = |session: &mut Session| session.confirm_rejection();
    for busy in [&ping_rejected as &dyn Fn(&mut Session), &confirmed] {
        let mut session = session_with(&[SCRIPT, SCRIPT].concat());
        sent(&mut session, Pass::Free);
        answer(&mut session, &BUSY.repeat(2)).unwrap();
        busy(&mut session);
        assert_eq!(sent(&mut session, Pass::One), PING);
        assert_eq!(answer(&mut session, b"+PONG\r\n").unwrap(), b"");
        for _ in 0..2 {
            assert_eq!(sent(&mut session, Pass::One), [PING, SCRIPT].concat());
            assert_eq!(answer(&mut session, &[b"+PONG\r\n", BUSY].concat()).unwrap(), BUSY);
        }
        assert!(session.is_quiet());
    }
}

/// No PING went with its next try, so nobody can tell of the first one; but the second was rejected before, for sure.
#[test]
fn so_does_one_behind_a_script_that_is_too_large_to_be_asked_about() {
    let large = format!("EVAL \"return '{}'\" 0\r\n", "x".repeat(1200)).into_bytes();
    let mut session = session_with(&[large.as_slice(), SCRIPT].concat());
    sent(&mut session, Pass::Free);
    answer(&mut session, &BUSY.repeat(2)).unwrap();
    session.confirm_rejection();
    assert_eq!(sent(&mut session, Pass::One), PING);
    answer(&mut session, b"+PONG\r\n").unwrap();
    assert_eq!(sent(&mut session, Pass::One), large);
    assert_eq!(answer(&mut session, BUSY).unwrap(), b"");
    assert_eq!(sent(&mut session, Pass::One), PING);
    assert_eq!(answer(&mut session, b"+PONG\r\n").unwrap(), BUSY);
    assert_eq!(sent(&mut session, Pass::One), [PING, SCRIPT].concat());
    assert_eq!(answer(&mut session, b"+PONG\r\n:1\r\n").unwrap(), b":1\r\n");
    assert!(session.is_quiet());
}

#[test]
fn what_the_gate_knows_of_a_script_goes_for_those_behind_it() {
    let mut session = session_with(&[SCRIPT, SCRIPT].concat());
    sent(&mut session, Pass::Free);
    answer(&mut session, &BUSY.repeat(2)).unwrap();
    assert!(session.doubt().is_some());
    let mut out = Out::default();
    session.deny_rejection(Time::ZERO, &mut out);
    assert_eq!(out.to_client(b""), BUSY.repeat(2));
    assert!(session.is_quiet(), "none runs twice");
}

const BLOCKING: &[u8] = b"BLPOP k 0\r\n";

#[test]
fn a_command_that_cannot_speak_for_the_server_waits_behind_a_ping() {
    let mut session = session_with(BLOCKING);
    assert!(matches!(session.want(), Want::Gate(ask) if ask.pings && !ask.scout && ask.read));
    assert_eq!(sent(&mut session, Pass::Speak), PING);
    assert_eq!(answer(&mut session, BUSY).unwrap(), b"");
    assert!(session.waits() && session.is_idle());
    assert!(matches!(session.want(), Want::Gate(ask) if ask.scout), "it asks again, and keeps its place");
    assert_eq!(sent(&mut session, Pass::Speak), PING);
    let mut out = Out::default();
    session.server_bytes(b"+PONG\r\n", Time::ZERO, &mut out).unwrap();
    assert!(out.proof.is_some() && out.pieces().is_empty());
    assert_eq!(session.want(), Want::Pass, "it need not queue up again");
    assert_eq!(sent(&mut session, Pass::One), BLOCKING);
    assert_eq!(answer(&mut session, b"*-1\r\n").unwrap(), b"*-1\r\n");
    assert!(session.is_quiet());
    session.client_bytes(BLOCKING, Time::ZERO, &mut Out::default()).unwrap();
    assert!(matches!(session.want(), Want::Gate(_)), "only that one command was let go");
}

#[test]
fn a_ping_that_is_written_in_part_goes_on_where_it_ended() {
    let mut session = session_with(BLOCKING);
    session.send(Pass::Speak, Time::ZERO);
    for byte in PING {
        assert_eq!(session.outgoing().first(), Some(byte));
        session.wrote(1, &mut Out::default());
    }
    assert!(session.outgoing().is_empty());
}

#[test]
fn without_having_waited_a_command_goes_alone() {
    assert_eq!(sent(&mut session_with(BLOCKING), Pass::One), BLOCKING);
    assert_eq!(sent(&mut session_with(b"GET k\r\n"), Pass::Speak), b"GET k\r\n");
}

#[test]
fn one_that_was_rejected_asks_likewise() {
    let mut session = session_with(BLOCKING);
    sent(&mut session, Pass::One);
    assert_eq!(answer(&mut session, BUSY).unwrap(), b"");
    assert_eq!(sent(&mut session, Pass::Speak), PING);
    assert_eq!(answer(&mut session, b"+PONG\r\n").unwrap(), b"");
    assert_eq!(sent(&mut session, Pass::One), BLOCKING);
}

/// Whom the server refuses PING sends its command, and whether that was accepted only time can tell.
#[test]
fn a_client_that_must_not_ping_does_not_go_round_and_round() {
    let refused = b"-NOPERM User limited has no permissions to run the 'ping' command\r\n";
    let mut session = session_with(BLOCKING);
    sent(&mut session, Pass::Speak);
    assert_eq!(answer(&mut session, refused).unwrap(), b"");
    assert!(matches!(session.want(), Want::Gate(ask) if !ask.scout && !ask.pings));
    assert_eq!(sent(&mut session, Pass::Speak), BLOCKING);
    assert_eq!(answer(&mut session, b"*-1\r\n").unwrap(), b"*-1\r\n");
    session.client_bytes(BLOCKING, Time::ZERO, &mut Out::default()).unwrap();
    assert_eq!(sent(&mut session, Pass::Speak), BLOCKING, "it is still the same user");
    assert_eq!(answer(&mut session, b"*-1\r\n").unwrap(), b"*-1\r\n");
    session.client_bytes(b"AUTH other secret\r\n", Time::ZERO, &mut Out::default()).unwrap();
    sent(&mut session, Pass::One);
    answer(&mut session, b"+OK\r\n").unwrap();
    session.client_bytes(BLOCKING, Time::ZERO, &mut Out::default()).unwrap();
    assert_eq!(sent(&mut session, Pass::Speak), PING, "another user may be allowed to");
}

#[test]
fn no_ping_comes_into_a_transaction_or_between_messages() {
    let mut session = session_with(b"MULTI\r\n");
    sent(&mut session, Pass::Free);
    answer(&mut session, b"+OK\r\n").unwrap();
    session.client_bytes(BLOCKING, Time::ZERO, &mut Out::default()).unwrap();
    assert_eq!(sent(&mut session, Pass::Speak), BLOCKING);

    let mut session = session_with(b"SUBSCRIBE c\r\n");
    sent(&mut session, Pass::One);
    answer(&mut session, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n").unwrap();
    session.client_bytes(b"SUBSCRIBE d\r\n", Time::ZERO, &mut Out::default()).unwrap();
    assert_eq!(sent(&mut session, Pass::Speak), b"SUBSCRIBE d\r\n");
}

/// What has not left yet is not executed any more when its client goes.
#[test]
fn a_client_that_leaves_behind_its_ping_has_left() {
    for told in [&b"+PONG\r\n"[..], BUSY] {
        let mut session = session_with(BLOCKING);
        sent(&mut session, Pass::Speak);
        session.client_gone();
        answer(&mut session, told).unwrap();
        assert_eq!(session.want(), Want::Nothing);
        assert!(session.is_quiet() && !session.waits());
    }
}

#[test]
fn nor_is_it_when_the_ping_was_answered_just_before() {
    let mut session = session_with(BLOCKING);
    sent(&mut session, Pass::Speak);
    answer(&mut session, b"+PONG\r\n").unwrap();
    session.client_gone();
    assert_eq!(session.want(), Want::Nothing);
    assert!(session.is_quiet());
}

/// Whether a client may send its large command is asked when that has begun; by its end the server may be busy.
#[test]
fn a_ping_lets_no_command_go_that_has_only_begun() {
    let command = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$40000\r\n{}\r\n", "x".repeat(40_000));
    let (begin, end) = command.as_bytes().split_at(1_000);
    let mut session = session_with(begin);
    assert_eq!(sent(&mut session, Pass::One), PING);
    answer(&mut session, b"+PONG\r\n").unwrap();
    session.client_bytes(end, Time::ZERO, &mut Out::default()).unwrap();
    assert!(matches!(session.want(), Want::Gate(_)));
}

#[test]
fn a_budget_that_ends_behind_a_ping_gives_the_command_its_last_try() {
    let mut session = session_with(BLOCKING);
    session.wait_began(Time::ZERO);
    sent(&mut session, Pass::Speak);
    answer(&mut session, BUSY).unwrap();
    let over = session.deadline().expect("it waits");
    session.expire(Some(Time::ZERO), over, &mut Out::default());
    assert_eq!(session.want(), Want::Pass);
    assert_eq!(sent(&mut session, Pass::One), BLOCKING);
    assert_eq!(answer(&mut session, BUSY).unwrap(), BUSY);
    assert!(session.is_quiet());
}

#[test]
fn what_comes_unasked_is_no_answer_to_a_ping_that_was_taken_back() {
    const FULL: &[u8] = b"-ERR max number of clients reached\r\n";
    let mut session = session_with(SCRIPT);
    session.send(Pass::One, Time::ZERO);
    session.take_back();
    assert_eq!(answer(&mut session, FULL).unwrap(), FULL);
    assert!(session.is_refused());
}
