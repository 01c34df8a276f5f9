//! A server's state as a proxy sees it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::asking::ago;
use crate::cli::EndpointSettings;
use crate::endpoint::{Condition, Endpoint, Episode, Failure, State};

/// What was learned from the proxy.
pub(super) struct Report {
    proxy: String,
    told: Result<Told, Failure>,
}

struct Told {
    state: State,
    /// The same, with all its fields.
    value: Value,
    /// Why clients cannot be served, if so.
    unready: Option<String>,
}

pub(super) async fn look(settings: EndpointSettings) -> Report {
    let proxy = settings.to_string();
    Report { proxy, told: ask(&Endpoint::new(settings)).await }
}

async fn ask(endpoint: &Endpoint) -> Result<Told, Failure> {
    let mut value = endpoint.state().await?;
    let state = State::of(&value)?;
    if let Value::Object(fields) = &mut value {
        fields.remove("episodes");
    }
    // The proxy learns only from its clients whether the server is there.
    let unready = match state.condition {
        Condition::Open if !state.draining => endpoint.unready().await?,
        _ => None,
    };
    Ok(Told { state, value, unready })
}

impl Report {
    /// The state by its name, and the exit code: those of a server that is asked itself.
    fn state(&self) -> (&'static str, u8) {
        match &self.told {
            Ok(Told { state: State { busy: Some(busy), .. }, .. }) if busy.cause == "loading" => {
                ("loading", 5)
            }
            Ok(Told { state, unready, .. }) => match (state.condition, unready) {
                (Condition::Busy, _) => ("busy", 1),
                (Condition::Stalled, _) => ("stalled", 3),
                (Condition::Open, Some(_)) => ("unreachable", 4),
                (Condition::Open, None) => ("open", 0),
            },
            Err(Failure::Unreachable(_)) => ("unreachable", 4),
            Err(Failure::Refused(_)) => ("refused", 6),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        self.state().1
    }

    /// One object: what the proxy tells, and which proxy it was.
    pub(super) fn object(&self) -> Value {
        let (mut object, reason) = match &self.told {
            Ok(told) => (told.value.clone(), told.unready.as_deref()),
            Err(failure) => (json!({}), Some(failure.reason())),
        };
        object["proxy"] = self.proxy.as_str().into();
        object["state"] = self.state().0.into();
        if let Some(reason) = reason {
            object["reason"] = reason.into();
        }
        object
    }

    pub(super) fn words(&self) -> String {
        let (name, proxy) = (self.state().0, &self.proxy);
        let what = match &self.told {
            Ok(told) => told.words(proxy),
            Err(Failure::Unreachable(reason)) => format!("the proxy at {proxy} cannot be reached: {reason}"),
            Err(Failure::Refused(reason)) => format!("the proxy at {proxy} tells nothing: {reason}"),
        };
        format!("{name}: {what}\n")
    }
}

impl Told {
    fn words(&self, proxy: &str) -> String {
        let Self { state, unready, .. } = self;
        let server = &state.upstream;
        let mut text = match (&state.busy, state.stalled_ms, unready) {
            (Some(busy), _, _) => busy_words(busy, server),
            (None, Some(silent), _) => format!("{server} has been silent for {}", millis(silent)),
            (None, None, Some(reason)) => format!("{server} cannot be used: {reason}"),
            (None, None, None) => format!("{server} accepts commands, as far as clients noticed"),
        };
        let _ = write!(text, "\n  seen by the proxy at {proxy}");
        if state.draining {
            text += ", which is ending";
        }
        if state.held_connections > 0 {
            let (connections, commands) = (state.held_connections, state.held_commands);
            let longest = millis(state.longest_wait_ms);
            let _ = write!(
                text,
                "\n  waiting: {connections} of {} clients, {commands} commands, the longest for {longest}",
                state.client_connections
            );
        }
        text
    }
}

fn busy_words(busy: &Episode, server: &str) -> String {
    let lasted = millis(busy.lasted_ms);
    let what = match busy.cause.as_str() {
        "loading" => return format!("{server} reads its data set, and has rejected commands for {lasted}"),
        "module" => "a module's command",
        cause => match &busy.script {
            Some(script) => {
                let by = busy.whose().unwrap_or_else(|| "an unknown client".to_owned());
                return format!(
                    "{server} has rejected commands for {lasted}, while it runs the {cause} {script} of {by}"
                );
            }
            None => &format!("a {cause} that did not come through this proxy"),
        },
    };
    format!("{server} has rejected commands for {lasted}, while it runs {what}")
}

fn millis(millis: u64) -> String {
    ago(Duration::from_millis(millis))
}
