//! The system's limit on open files, which is often far below what a proxy for many clients needs.
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use unbusy_proxy::ADMIN_CONNECTIONS_MAX;

/// Listeners, timers, logs, and connections of the proxy's own.
const OWN: usize = 64;

/// Makes room for this many clients, as far as the system lets us, and tells for how many there is.
pub(super) fn make_room(clients: usize, admin: bool) -> usize {
    let own = OWN + if admin { ADMIN_CONNECTIONS_MAX } else { 0 };
    // Each client has a connection of its own to the server.
    let needed = (2 * clients + own) as u64;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|&current| current < needed) else { return clients };
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let refused = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_err();
    let allowed = if refused { current } else { raised };
    (allowed as usize).saturating_sub(own) / 2
}
