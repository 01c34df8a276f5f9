//! What state a server is in, in words, as JSON, and as an exit code.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use unbusy_core::Cause;

use super::words::{ago, millis};

/// A server's state, as far as it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Open {
        round_trip: Duration,
    },
    Busy(Busy),
    Stalled {
        silent: Duration,
    },
    Unreachable {
        reason: String,
    },
    Loading {
        reason: String,
    },
    /// It answers with an error that hides its state.
    Refused {
        reason: String,
    },
}

/// What a busy server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Busy {
    pub(crate) cause: Cause,
    /// The error, code and all.
    pub(crate) error: String,
    /// The function, if it is one and the server told.
    pub(crate) function: Option<Running>,
}

/// A running function, by `FUNCTION STATS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) since: Duration,
    /// What called it, arguments and all.
    pub(crate) command: Vec<String>,
}

impl Condition {
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Open { .. } => 0,
            Self::Busy(_) => 1,
            Self::Stalled { .. } => 3,
            Self::Unreachable { .. } => 4,
            Self::Loading { .. } => 5,
            Self::Refused { .. } => 6,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Busy(_) => "busy",
            Self::Stalled { .. } => "stalled",
            Self::Unreachable { .. } => "unreachable",
            Self::Loading { .. } => "loading",
            Self::Refused { .. } => "refused",
        }
    }

    /// One line, and lines with what can be known or done.
    pub(crate) fn words(&self, server: &str, threshold: Option<Duration>, arguments: bool) -> String {
        let what = match self {
            Self::Open { round_trip } => format!("answers in {}", ago(*round_trip)),
            Self::Busy(busy) => busy.words(server, threshold, arguments),
            Self::Stalled { silent } => stalled(*silent, threshold),
            Self::Unreachable { reason } => format!("cannot be reached: {reason}"),
            Self::Loading { reason } => {
                format!("reads its data set and rejects commands until then\n  it says: {reason}")
            }
            Self::Refused { reason } => format!(
                "answers, but with an error that hides its state\n  it says: {reason}\n  a login helps, like redis://USER:PASSWORD@HOST, \
                 of a user who may PING"
            ),
        };
        format!("{}: {server} {what}\n", self.name())
    }

    /// The fields, without those that name the server.
    pub(crate) fn fields(&self, threshold: Option<Duration>, arguments: bool) -> Map<String, Value> {
        let mut fields = match self {
            Self::Open { round_trip } => json!({ "round_trip_ms": millis(*round_trip) }),
            Self::Busy(busy) => busy.fields(threshold, arguments),
            Self::Stalled { silent } => json!({ "silent_ms": millis(*silent) }),
            Self::Unreachable { reason } | Self::Loading { reason } | Self::Refused { reason } => {
                json!({ "reason": reason })
            }
        };
        fields["state"] = self.name().into();
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

impl Busy {
    /// What runs.
    pub(crate) fn what(&self) -> String {
        match (&self.function, self.cause) {
            (Some(running), _) => format!("the function {:?}", running.name),
            (None, Cause::Script) => "a script".to_owned(),
            (None, Cause::Function) => "a function".to_owned(),
            (None, Cause::Module | Cause::Loading) => "a module's command".to_owned(),
        }
    }

    fn words(&self, server: &str, threshold: Option<Duration>, arguments: bool) -> String {
        let mut text = format!("rejects commands while it runs {}, ", self.what());
        let _ = match (&self.function, threshold) {
            (Some(running), _) => write!(text, "for {} so far", ago(running.since)),
            (None, Some(threshold)) => write!(text, "for at least its threshold of {}", ago(threshold)),
            (None, None) => write!(text, "for at least its threshold (5s unless that was changed)"),
        };
        let _ = write!(text, "\n  it says: {}", self.error);
        if let (true, Some(running)) = (arguments, &self.function) {
            let _ = write!(text, "\n  called by: {}", running.command.join(" "));
        }
        if self.cause == Cause::Script {
            text += "\n  which script: the server does not tell before it ends, but its log has the SHA1: \
                     \"Slow script detected\"";
        }
        match self.cause {
            Cause::Module | Cause::Loading => text += "\n  only the module itself can end it",
            Cause::Script | Cause::Function => {
                let _ = write!(text, "\n  to end it, unless it has written already: unbusy kill {server}");
            }
        }
        text
    }

    fn fields(&self, threshold: Option<Duration>, arguments: bool) -> Value {
        let function = self.function.as_ref();
        let command = function.filter(|_| arguments).map(|running| running.command.clone());
        let mut fields = json!({
            "kind": self.cause.name(),
            "error": self.error,
            "function": function.map(|running| running.name.clone()),
            "running_ms": function.map(|running| millis(running.since)),
            "running_at_least_ms": threshold.map(millis),
        });
        if arguments {
            fields["command"] = command.into();
        }
        fields
    }
}

fn stalled(silent: Duration, threshold: Option<Duration>) -> String {
    let threshold = match threshold {
        Some(threshold) => ago(threshold),
        None => "5s unless that was changed".to_owned(),
    };
    format!(
        "took the connection, but did not answer within {}\n  it may run a script that has not reached the threshold \
         ({threshold}) and will answer BUSY then; or one long command; or be swapped out or stopped; or it is a proxy \
         that holds the question, so name the server itself\n  a longer --timeout tells more",
        ago(silent)
    )
}
