//! `/api/given-up`: the last times that commands were given up, as JSON. `docs/monitoring.md` says what each field means.

use serde::Serialize;

use super::state::unix_time;
use crate::history::Loss;
use crate::notices::millis;

/// The newest first.
#[derive(Debug, Serialize)]
pub(super) struct Losses {
    given_up: Vec<One>,
}

#[derive(Debug, Serialize)]
struct One {
    at_ms: u64,
    command: String,
    commands: u64,
    waited_ms: Option<u64>,
    client: String,
    client_name: Option<String>,
    user: Option<String>,
}

impl Losses {
    pub(super) fn of(losses: Vec<Loss>) -> Self {
        Self { given_up: losses.into_iter().map(One::of).collect() }
    }
}

impl One {
    fn of(Loss { at, command, commands, client, waited }: Loss) -> Self {
        Self {
            at_ms: millis(unix_time(at)),
            command,
            commands,
            waited_ms: waited.map(millis),
            client: client.place(),
            client_name: client.name,
            user: client.user,
        }
    }
}
