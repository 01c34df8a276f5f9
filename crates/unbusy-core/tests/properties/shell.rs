//! What a shell does for its session.

use std::time::Duration;

use unbusy_core::session::{Pass, Want};
use unbusy_core::{Session, Time};

/// How long a lease runs.
pub(super) const LEASE: Duration = Duration::from_millis(50);

/// The gate lets the session go. `false`: it has nothing to send, or what it sent is not written yet.
pub(super) fn let_go(session: &mut Session, pass: Pass, now: Time) -> bool {
    if !session.outgoing().is_empty() {
        return false;
    }
    match session.want() {
        Want::Pass => session.send(Pass::One, now),
        Want::Gate(_) if session.is_idle() => session.send(pass, now),
        Want::Gate(_) if session.may_join(LEASE, now) => session.send(Pass::Free, now),
        Want::Nothing | Want::Gate(_) => return false,
    }
    true
}
