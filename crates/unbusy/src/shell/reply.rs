//! What a reply of the `redis` crate means: executed, rejected, or an error of its own.

use super::redis::{RedisError, RedisResult, Value};
use unbusy_core::command::Kind;
use unbusy_core::{Cause, aborted, rejected};

use crate::running::{End, ScriptInFlight};

/// What a command or a pipeline is answered.
pub(crate) trait HasError {
    fn has_error(&self) -> bool;
}

impl HasError for Value {
    fn has_error(&self) -> bool {
        matches!(self, Self::ServerError(_))
    }
}

impl HasError for Vec<Value> {
    fn has_error(&self) -> bool {
        self.iter().any(HasError::has_error)
    }
}

/// Whether an answer needs no closer look: no error of any kind.
pub(crate) fn is_good<T: HasError>(answer: &RedisResult<T>) -> bool {
    answer.as_ref().is_ok_and(|answer| !answer.has_error())
}

/// What came back for something with scripts in it, if it had any. If the connection failed meanwhile, they may run on.
pub(crate) fn end_script<T: HasError>(running: Option<ScriptInFlight<'_>>, answer: &RedisResult<T>) {
    match running {
        Some(running) if is_good(answer) => running.ended(End::Executed),
        Some(running) if !answer.as_ref().is_err_and(RedisError::is_io_error) => running.ended(End::Refused),
        _ => {}
    }
}

/// Why a command of this kind was certainly not executed, if it was not.
pub(crate) fn rejection(reply: &RedisResult<Value>, kind: Kind) -> Option<Cause> {
    match reply {
        Ok(value) => rejection_of(value, kind),
        Err(error) => rejection_in(error, kind).or_else(|| setup_rejection(error)),
    }
}

pub(crate) fn rejection_of(value: &Value, kind: Kind) -> Option<Cause> {
    let Value::ServerError(error) = value else { return None };
    classify(error.code(), error.details().unwrap_or_default(), kind)
}

pub(crate) fn rejection_in(error: &RedisError, kind: Kind) -> Option<Cause> {
    classify(error.code()?, error.detail().unwrap_or_default(), kind)
}

fn classify(code: &str, message: &str, kind: Kind) -> Option<Cause> {
    if kind == Kind::Exec && code == "EXECABORT" { aborted(message) } else { rejected(code, message, kind) }
}

/// Why a connection could not be set up, if that was because the server is busy: the `redis` crate tells a SELECT that
/// was rejected in words of its own, followed by the server's.
///
/// What was to be sent on that connection was not sent.
pub(crate) fn setup_rejection(error: &RedisError) -> Option<Cause> {
    const SELECT_REFUSED: &str = "Redis server refused to switch database";
    let refused = error.to_string().starts_with(SELECT_REFUSED);
    rejected("BUSY", error.detail().filter(|_| refused)?, Kind::Script)
}

/// Why a transaction that was sent as a whole was discarded, if the server was busy at any moment of it.
///
/// A queued command was not run, so its error is the server's, whatever its kind. The `redis` crate tells it as an error that holds those of the queued commands, or as EXEC's own reply if only that
/// was refused.
pub(crate) fn transaction_rejection(reply: &RedisResult<Vec<Value>>) -> Option<Cause> {
    match reply {
        Ok(values) => values.iter().find_map(|value| rejection_of(value, Kind::Exec)),
        Err(error) => {
            if let Some(cause) = setup_rejection(error) {
                return Some(cause);
            }
            let errors = error.clone().into_server_errors()?;
            let of = |kind| {
                errors.iter().find_map(move |(_, error)| {
                    classify(error.code(), error.details().unwrap_or_default(), kind)
                })
            };
            of(Kind::Plain).or_else(|| of(Kind::Exec))
        }
    }
}
