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
