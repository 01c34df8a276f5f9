//! What came of it, in words, as JSON, and as an exit code.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::asking::{Busy, Condition, ago, millis};

pub(super) enum Outcome {
    Killed(Killed),
    /// The server is open or loading.
    Nothing(Condition),
    /// It ended between the look and the kill.
    OverBefore(Busy),
    /// Stalled, unreachable or refused.
    NoAnswer(Condition),
    /// The kill was sent, and there was no answer to it.
    Unanswered(Condition),
    TooYoung {
        busy: Busy,
        age: Duration,
        wanted: Duration,
    },
    Refused {
        reason: String,
    },
    Unkillable {
        busy: Busy,
        why: Why,
        reason: String,
    },
}

pub(super) struct Killed {
    pub(super) busy: Busy,
    /// It had run at least so long.
    pub(super) age: Duration,
    pub(super) threshold: Option<Duration>,
    /// From the last look at it to the answer to the kill.
    pub(super) answered: Duration,
    pub(super) afterwards: Condition,
}

/// Why the server cannot kill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Written,
    Replication,
    Module,
}

impl Why {
    pub(super) fn of(reason: &str) -> Self {
        if reason.contains("master instance") { Self::Replication } else { Self::Written }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Written => {
                "it has written already, so the server refuses: half of its writes would stay\n  wait until it ends (until \
                 unbusy status …; do sleep 1; done); or, as the last resort, end the server with SHUTDOWN NOSAVE and \
                 lose what is not saved; unbusy never does that"
            }
            Self::Replication => {
                "it comes from this replica's master, so the server refuses: the data would differ\n  wait until it ends; \
                 its cause is on the master"
            }
            Self::Module => {
                "servers have no command that ends a module's command\n  wait until it ends; the module's documentation may \
                 tell more"
            }
        }
    }
}

impl Killed {
    fn same(&self) -> Option<bool> {
        self.threshold.map(|threshold| self.answered < threshold)
    }

    fn words(&self, server: &str) -> String {
        let mut text = format!("killed: {} on {server}, which had run for ", self.busy.what());
        let _ = match &self.busy.function {
            Some(running) => write!(text, "{}", ago(running.since)),
            None if self.age.is_zero() => write!(text, "at least the threshold"),
            None => write!(text, "at least {}", ago(self.age)),
        };
        let answered = ago(self.answered);
        let certainty = match (self.same(), self.threshold.map(ago)) {
            (Some(true), Some(threshold)) => format!(
                "it was the one that was looked at: the kill was answered {answered} after that, and another could not have \
                 been killed before it had run for the threshold of {threshold}"
            ),
            (Some(false), Some(threshold)) => format!(
                "it may have been another than the one that was looked at: the kill was answered only {answered} after that, \
                 and the threshold is {threshold}"
            ),
            _ => format!(
                "it was the one that was looked at if the server's threshold, which may not be read, is more than {answered}"
            ),
        };
        let afterwards = match &self.afterwards {
            Condition::Open { .. } => "the server is open again".to_owned(),
            Condition::Busy(busy) => format!("but the server is busy again: it runs {}", busy.what()),
            other => format!("but the server is {} now", other.name()),
        };
        format!("{text}\n  {certainty}\n  {afterwards}\n")
    }
}

impl Outcome {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Killed(_) => 0,
            Self::Nothing(_) | Self::OverBefore(_) => 1,
            Self::NoAnswer(condition) | Self::Unanswered(condition) => condition.exit_code(),
            Self::TooYoung { .. } => 5,
            Self::Refused { .. } => 6,
            Self::Unkillable { .. } => 7,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Killed(_) => "killed",
            Self::Nothing(_) | Self::OverBefore(_) => "nothing to kill",
            Self::NoAnswer(condition) | Self::Unanswered(condition) => condition.name(),
            Self::TooYoung { .. } => "too young",
            Self::Refused { .. } => "refused",
            Self::Unkillable { .. } => "cannot be killed",
        }
    }

    pub(super) fn words(&self, server: &str) -> String {
        let text = match self {
            Self::Killed(killed) => return killed.words(server),
            Self::NoAnswer(condition) => return condition.words(server, None, false),
            Self::Unanswered(condition) => {
                let words = condition.words(server, None, false);
                return format!("{words}  the kill is on its way, and ends what runs when it arrives\n");
            }
            Self::Nothing(condition) => format!("{server} is {}", condition.name()),
            Self::OverBefore(busy) => {
                format!("{} on {server} ended by itself before the kill arrived", busy.what())
            }
            Self::TooYoung { busy, age, wanted } => {
                let (what, wanted) = (busy.what(), ago(*wanted));
                let short = match &busy.function {
                    Some(running) => format!("has run for {}, not for {wanted}", ago(running.since)),
                    None if age.is_zero() => {
                        format!("may not have run for {wanted}: how long it has is not known")
                    }
                    None => format!("has run for at least {}, not certainly for {wanted}", ago(*age)),
                };
                format!("{what} on {server} {short}\n  --wait looks again until it has")
            }
            Self::Refused { reason } => format!(
                "{server} says: {reason}\n  the user needs +script|kill (+script before Redis 7.0) and +function|kill"
            ),
            Self::Unkillable { busy, why, .. } => format!("{} on {server}: {}", busy.what(), why.words()),
        };
        format!("{}: {text}\n", self.name())
    }

    pub(super) fn fields(&self, server: &str) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("server", server.into());
        put("outcome", self.name().into());
        match self {
            Self::Killed(killed) => {
                put("ran_at_least_ms", millis(killed.age).into());
                put("threshold_ms", json!(killed.threshold.map(millis)));
                put("answered_ms", millis(killed.answered).into());
                put("same", json!(killed.same()));
                put("state", killed.afterwards.name().into());
            }
            Self::Nothing(condition) | Self::NoAnswer(condition) | Self::Unanswered(condition) => {
                put("state", condition.name().into());
            }
            Self::TooYoung { age, .. } => {
                put("ran_at_least_ms", millis(*age).into());
            }
            Self::Refused { reason } | Self::Unkillable { reason, .. } => {
                put("reason", reason.clone().into());
            }
            Self::OverBefore(_) => {}
        }
        if let Some(busy) = self.busy() {
            put("kind", busy.cause.name().into());
            put("function", json!(busy.function.as_ref().map(|running| running.name.clone())));
            put("ran_ms", json!(busy.function.as_ref().map(|running| millis(running.since))));
        }
        Value::Object(fields)
    }

    const fn busy(&self) -> Option<&Busy> {
        match self {
            Self::Killed(Killed { busy, .. })
            | Self::OverBefore(busy)
            | Self::TooYoung { busy, .. }
            | Self::Unkillable { busy, .. } => Some(busy),
            Self::Nothing(_) | Self::NoAnswer(_) | Self::Unanswered(_) | Self::Refused { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use unbusy_core::Cause;

    use super::*;

    fn killed(answered: u64, threshold: Option<u64>) -> Killed {
        Killed {
            busy: Busy { cause: Cause::Script, error: String::new(), function: None },
            age: Duration::ZERO,
            threshold: threshold.map(Duration::from_millis),
            answered: Duration::from_millis(answered),
            afterwards: Condition::Open { round_trip: Duration::ZERO },
        }
    }

    #[test]
    fn a_kill_that_is_answered_late_may_have_met_another() {
        assert_eq!(killed(99, Some(100)).same(), Some(true));
        assert_eq!(killed(100, Some(100)).same(), Some(false));
        assert_eq!(killed(1, None).same(), None);
        assert!(killed(200, Some(100)).words("s").contains("may have been another"));
        assert!(killed(1, None).words("s").contains("if the server's threshold"));
    }

    #[test]
    fn the_server_says_why_it_cannot() {
        let text = "UNKILLABLE The busy script was sent by a master instance in the context of replication and cannot be killed.";
        assert_eq!(Why::of(text), Why::Replication);
        assert_eq!(Why::of("UNKILLABLE Sorry the script already executed write commands"), Why::Written);
    }
}
