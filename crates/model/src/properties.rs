//! What must hold of the real rules wherever their assumptions are true, and what must be possible.

use stateright::Property;

use crate::model::State;
use crate::oracle::{Fault, Sight};
use crate::setting::Setting;

/// Commands of a connection are executed in order.
pub const ORDER: &str = "in order";
/// No command is executed twice.
pub const ONCE: &str = "once";
/// A transaction is executed as a whole.
pub const WHOLE: &str = "transactions are whole";
/// A transaction is not executed if what its client watches has changed.
pub const WATCH: &str = "WATCH has its meaning";
/// No client gets BUSY, and no error that it had not got without unbusy. A hole would give it one.
pub const NO_BUSY: &str = "no BUSY reaches a client";
/// What clients are told is true.
pub const TRUE: &str = "answers are true";
/// There is one leader whose answer is not overdue.
pub const ONE_LEADER: &str = "one leader";
/// First come, first served.
pub const QUEUE: &str = "nobody is overtaken";
/// The threshold is never taken for smaller than it is.
pub const THRESHOLD: &str = "no smaller threshold is learned";
/// A rejection that counts as late is one of a script that is over.
pub const LATE: &str = "late rejections are told apart";
/// The server's rejection is not taken for the command's own reply.
pub const OWN: &str = "rejections are told from own replies";
/// Who has nothing to send does not stand in others' way.
pub const NO_IDLER: &str = "nobody waits without a command";
/// Every run that comes to an end ends so.
pub const ANSWERED: &str = "all are answered";

/// A command is rejected that was sent under a lease and has others behind it.
pub const PIPELINE: &str = "a pipeline is rejected";
/// A scout is overdue.
pub const STALL: &str = "a stall";
/// A transaction is sent again.
pub const REPLAY: &str = "a transaction is sent again";
/// A client is told that what it watches has changed.
pub const NULL: &str = "a null reply";
/// An executed command is seen behind a rejected one.
pub const HOLE: &str = "a hole";
/// A leader's answer is overdue.
pub const JOINED: &str = "a leader is joined";
/// A rejection is found to be older than the newest proof.
pub const LATE_REJECTION: &str = "a late rejection";
/// A smaller threshold is learned.
pub const LEARNED: &str = "a smaller threshold is learned";

pub(crate) fn all() -> Vec<Property<Setting>> {
    type Told = Property<Setting>;
    vec![
        Told::always(ORDER, |_, state| !state.oracle.has(Fault::Reordered)),
        Told::always(ONCE, |_, state| !state.oracle.has(Fault::Twice)),
        Told::always(WHOLE, |_, state| !state.oracle.has(Fault::Torn)),
        Told::always(WATCH, |_, state| !state.oracle.has(Fault::WatchIgnored)),
        Told::always(NO_BUSY, |_, state| !state.oracle.has(Fault::Failed)),
        Told::always(TRUE, |_, state| !state.oracle.has(Fault::Untrue)),
        Told::always(ONE_LEADER, |_, state| !state.oracle.has(Fault::Leaders)),
        Told::always(QUEUE, |_, state| !state.oracle.has(Fault::Overtaken)),
        Told::always(THRESHOLD, |_, state| !state.oracle.has(Fault::Mislearned)),
        Told::always(LATE, |_, state| !state.oracle.has(Fault::Misdated)),
        Told::always(OWN, |_, state| !state.oracle.has(Fault::Mistaken)),
        Told::always(NO_IDLER, |setting, state| !has_idler(setting, state)),
        Told::eventually(ANSWERED, |setting, state| state.is_settled(setting)),
        Told::sometimes(PIPELINE, |_, state| state.oracle.saw(Sight::Pipeline)),
        Told::sometimes(STALL, |_, state| state.oracle.saw(Sight::Stall)),
        Told::sometimes(REPLAY, |_, state| state.oracle.saw(Sight::Replay)),
        Told::sometimes(NULL, |_, state| state.oracle.saw(Sight::Null)),
        Told::sometimes(HOLE, |_, state| state.oracle.saw(Sight::Hole)),
        Told::sometimes(JOINED, |_, state| state.oracle.saw(Sight::Joined)),
        Told::sometimes(LATE_REJECTION, |_, state| state.oracle.saw(Sight::Late)),
        Told::sometimes(LEARNED, |_, state| state.oracle.saw(Sight::Learned)),
    ]
}

fn has_idler(setting: &Setting, state: &State) -> bool {
    let idle = |conn: usize| {
        let lane = &state.lanes[conn];
        lane.flights.is_empty() && lane.has_sent_all(setting, conn)
    };
    state.gate.places.iter().any(|place| idle(place.conn))
}
