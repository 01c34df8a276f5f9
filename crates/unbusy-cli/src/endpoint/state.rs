//! What `/api/state` and `/api/events` tell, as far as it is looked at here. `docs/monitoring.md` says what the fields mean.

use serde::{Deserialize, Deserializer};

use crate::asking::printable;

/// A proxy at one moment.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct State {
    pub(crate) started_ms: u64,
    pub(crate) now_ms: u64,
    #[serde(deserialize_with = "text")]
    pub(crate) upstream: String,
    #[serde(rename = "state")]
    pub(crate) condition: Condition,
    pub(crate) draining: bool,
    pub(crate) busy: Option<Episode>,
    pub(crate) stalled_ms: Option<u64>,
    pub(crate) held_connections: u64,
    pub(crate) held_commands: u64,
    pub(crate) longest_wait_ms: u64,
    pub(crate) threshold_ms: u64,
    pub(crate) client_connections: u64,
    pub(crate) counters: Counters,
    #[serde(default)]
    pub(crate) episodes: Vec<Episode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Condition {
    Open,
    Stalled,
    Busy,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Episode {
    /// None while it goes on.
    #[serde(default)]
    pub(crate) number: Option<u64>,
    pub(crate) began_ms: u64,
    pub(crate) lasted_ms: u64,
    #[serde(deserialize_with = "text")]
    pub(crate) cause: String,
    #[serde(deserialize_with = "text_if_any")]
    pub(crate) script: Option<String>,
    #[serde(deserialize_with = "text_if_any")]
    pub(crate) client: Option<String>,
    #[serde(default, deserialize_with = "text_if_any")]
    client_name: Option<String>,
    #[serde(default, deserialize_with = "text_if_any")]
    user: Option<String>,
    pub(crate) connections: u64,
    pub(crate) given_up: u64,
}

impl Episode {
    /// Whose script it was: the client's address, and what else is known of it.
    pub(crate) fn whose(&self) -> Option<String> {
        let client = self.client.clone()?;
        let user = self.user.as_ref().map(|user| format!("user {user}"));
        let more: Vec<_> = self.client_name.iter().cloned().chain(user).collect();
        Some(if more.is_empty() { client } else { format!("{client} ({})", more.join(", ")) })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Counters {
    pub(crate) episodes: u64,
    pub(crate) busy_ms: u64,
    pub(crate) stalls: u64,
    pub(crate) stalled_ms: u64,
    pub(crate) rejected: u64,
    pub(crate) given_up: u64,
    pub(crate) holes: u64,
    pub(crate) ambiguous: u64,
    pub(crate) too_large: u64,
    pub(crate) accepted_connections: u64,
    pub(crate) unreached_connections: u64,
}

/// What `/api/scripts` tells.
#[derive(Debug, Deserialize)]
pub(crate) struct Scripts {
    pub(crate) now_ms: u64,
    /// The dearest first.
    pub(crate) scripts: Vec<Script>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Script {
    #[serde(rename = "script", deserialize_with = "text")]
    pub(crate) name: String,
    pub(crate) runs: u64,
    pub(crate) blocked_ms: f64,
    pub(crate) longest_ms: f64,
}

/// Names of functions are their callers' choice: no control characters reach a terminal.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| printable(&text))
}

fn text_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|text| text.map(|text| printable(&text)))
}
