//! Commands that are never answered, behind one that is rejected.

use unbusy_core::session::{Out, Pass};
use unbusy_core::{Policy, Session, Time};

const BUSY: &[u8] =
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const GET: &[u8] = b"GET k\r\n";

#[test]
fn one_that_is_written_after_the_rejection_ends_the_wait_for_answers() {
    for silent in [&b"REPLCONF ACK 1\r\n"[..], b"*0\r\n"] {
        let mut session = Session::new(Policy::default());
        session.client_bytes(&[GET, silent].concat(), Time::ZERO, &mut Out::default()).unwrap();
        session.send(Pass::Free, Time::ZERO);
        assert_eq!(session.outgoing(), [GET, silent].concat());
        session.wrote(GET.len(), &mut Out::default());
        session.server_bytes(BUSY, Time::ZERO, &mut Out::default()).unwrap();
        assert!(session.is_held() && !session.is_idle());
        session.wrote(silent.len(), &mut Out::default());
        assert!(session.is_idle(), "{}", silent.escape_ascii());
        session.send(Pass::One, Time::ZERO);
        assert_eq!(session.outgoing(), GET);
    }
}
