//! What answers none of the commands of a subscriber: between rejected replies it is no hole.

use unbusy_core::session::{Out, Pass};
use unbusy_core::{Event, Policy, Session, Time};

const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const SUBSCRIBED: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
const MESSAGE: &str = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";

struct Heard {
    client: String,
    hole: bool,
}

fn hear(session: &mut Session, reply: &str) -> Heard {
    let mut out = Out::default();
    session.server_bytes(reply.as_bytes(), Time::ZERO, &mut out).unwrap();
    let client = String::from_utf8(out.to_client(reply.as_bytes())).unwrap();
    Heard { client, hole: out.events.contains(&Event::Hole) }
}

fn send(session: &mut Session, commands: &str) {
    session.client_bytes(commands.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    assert_eq!(session.outgoing(), commands.as_bytes());
    session.wrote(commands.len(), &mut Out::default());
}

fn subscriber() -> Session {
    let mut session = Session::new(Policy::default());
    send(&mut session, "SUBSCRIBE a\r\n");
    assert_eq!(hear(&mut session, SUBSCRIBED).client, SUBSCRIBED);
    session
}

#[test]
fn who_has_asked_to_be_subscribed_may_be_sent_messages() {
    let unsubscribed = "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n";
    let mut session = Session::new(Policy::default());
    for (command, asked, reply, subscribed) in [
        ("PING\r\n", false, "+PONG\r\n", false),
        ("SUBSCRIBE a\r\n", true, SUBSCRIBED, true),
        ("UNSUBSCRIBE a\r\n", true, unsubscribed, false),
    ] {
        send(&mut session, command);
        assert_eq!(session.is_subscribed(), asked, "{command:?} is sent");
        hear(&mut session, reply);
        assert_eq!(session.is_subscribed(), subscribed, "{command:?} is answered");
    }
}

#[test]
fn a_message_between_rejected_replies_is_delivered() {
    for cut in 1..MESSAGE.len() {
        let mut session = subscriber();
        send(&mut session, "PING\r\nPING\r\n");
        let first = hear(&mut session, &format!("{BUSY}{}", &MESSAGE[..cut]));
        let second = hear(&mut session, &format!("{}{BUSY}", &MESSAGE[cut..]));
        assert!(!first.hole && !second.hole, "cut at {cut}");
        assert_eq!(first.client + &second.client, MESSAGE);
        assert!(session.is_held());
    }
}

#[test]
fn an_executed_command_between_rejected_replies_is_a_hole() {
    let mut session = subscriber();
    send(&mut session, "PING\r\nPING\r\n");
    let pong = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    let heard = hear(&mut session, &format!("{BUSY}{pong}"));
    assert!(heard.hole);
    assert_eq!(heard.client, format!("{BUSY}{pong}"));
}

#[test]
fn a_script_that_is_not_allowed_behind_a_rejected_command_did_not_run() {
    let mut session = subscriber();
    send(&mut session, "UNSUBSCRIBE a\r\nEVAL x 0\r\n");
    let refusal = "-ERR Can't execute 'eval': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n";
    let heard = hear(&mut session, &format!("{BUSY}{refusal}"));
    assert!(!heard.hole);
    assert_eq!(heard.client, "");
    assert!(session.is_held());
}

#[test]
fn the_end_of_a_subscription_confirms_no_command_that_the_server_has_not_got() {
    const MOVED: &str = ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n";
    const COMMAND: &str = "SUNSUBSCRIBE a\r\n";
    let mut session = Session::new(Policy::default());
    send(&mut session, "HELLO 3\r\n");
    hear(&mut session, "%1\r\n+proto\r\n:3\r\n");
    session.client_bytes(COMMAND.as_bytes(), Time::ZERO, &mut Out::default()).unwrap();
    session.send(Pass::Free, Time::ZERO);
    session.wrote(4, &mut Out::default());
    assert_eq!(hear(&mut session, MOVED).client, MOVED);
    assert_eq!(session.outgoing(), &COMMAND.as_bytes()[4..], "the rest still goes to the server");
    session.wrote(COMMAND.len() - 4, &mut Out::default());
    assert!(!session.is_quiet());
    assert_eq!(hear(&mut session, MOVED).client, MOVED);
    assert!(session.is_quiet());
}

/// A slot moves away, and with it the shard channel.
#[test]
fn the_end_of_another_subscription_confirms_no_command() {
    const SHARD: &str = ">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n";
    const MOVED: &str = ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n";
    for (command, confirmation) in
        [("UNSUBSCRIBE c\r\n", ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n"), ("SSUBSCRIBE a\r\n", SHARD)]
    {
        let mut session = Session::new(Policy::default());
        send(&mut session, "HELLO 3\r\n");
        hear(&mut session, "%1\r\n+proto\r\n:3\r\n");
        send(&mut session, "SSUBSCRIBE a\r\n");
        hear(&mut session, SHARD);
        send(&mut session, command);
        assert_eq!(hear(&mut session, MOVED).client, MOVED);
        assert!(!session.is_quiet(), "{command:?} is still to be answered");
        assert_eq!(hear(&mut session, confirmation).client, confirmation);
        assert!(session.is_quiet());
    }
}
