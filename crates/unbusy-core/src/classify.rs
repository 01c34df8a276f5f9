//! Is an error the server's "rejected, not executed", or something that only looks like it?
//!
//! Knows codes and messages, not frames, so that a client library can use it as well as the proxy.

use crate::command::Kind;

/// What makes the server reject commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A Lua script (EVAL, EVALSHA); SCRIPT KILL may end it.
    Script,
    /// A function (FCALL); FUNCTION KILL may end it.
    Function,
    /// A module's command.
    Module,
    /// The data set is being loaded.
    Loading,
}

impl Cause {
    /// The name used in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Function => "function",
            Self::Module => "module",
            Self::Loading => "loading",
        }
    }
}

/// Why a command with this error was certainly not executed, or `None` if the error is final.
///
/// `code` is the first word of the error and `message` what follows the space behind it. Servers write `-BUSY ` in
/// `processCommand` before a command is called (redis `src/server.c`). For scripts and for commands that are not
/// the server's own only the servers' exact texts count, since those can answer with such an error after having
/// written.
///
/// ```
/// use unbusy_core::{Cause, command::Kind, rejected};
/// let text = "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
/// assert_eq!(rejected("BUSY", text, Kind::Plain), Some(Cause::Script));
/// assert_eq!(rejected("BUSY", "something", Kind::Script), None);
/// assert_eq!(rejected("BUSYGROUP", "Consumer Group name already exists", Kind::Plain), None);
/// ```
pub fn rejected(code: &str, message: &str, kind: Kind) -> Option<Cause> {
    if kind == Kind::Kill {
        return None;
    }
    let exact_only = kind.may_answer_busy();
    match code {
        "BUSY" => match exact_busy(message) {
            None if !exact_only => Some(Cause::Module),
            known => known,
        },
        "LOADING" => {
            let exact = without_name(message) == Some(" is loading the dataset in memory");
            (exact || !exact_only).then_some(Cause::Loading)
        }
        _ => None,
    }
}

/// Why `EXEC` discarded a transaction, if the server was busy at that moment.
///
/// Since Redis 6.0.6 `EXEC` answers `-EXECABORT Transaction discarded because of: BUSY …`
/// (redis `src/multi.c`, `execCommandAbort`).
pub fn aborted(message: &str) -> Option<Cause> {
    let reason = message.strip_prefix("Transaction discarded because of: ")?;
    let (code, message) = reason.split_once(' ')?;
    rejected(code, message, Kind::Exec)
}

fn exact_busy(message: &str) -> Option<Cause> {
    match without_name(message)? {
        " is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE." => Some(Cause::Script),
        " is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE." => {
            Some(Cause::Function)
        }
        " is busy running a module command." => Some(Cause::Module),
        _ => None,
    }
}

/// Valkey says its own name from 8.0 on unless `extended-redis-compatibility` is set.
fn without_name(message: &str) -> Option<&str> {
    message.strip_prefix("Redis").or_else(|| message.strip_prefix("Valkey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    const FUNCTION: &str =
        "Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";

    #[test]
    fn causes_have_the_names_that_logs_and_metrics_use() {
        let causes = [Cause::Script, Cause::Function, Cause::Module, Cause::Loading];
        assert_eq!(causes.map(Cause::name), ["script", "function", "module", "loading"]);
    }

    #[test]
    fn the_servers_texts_tell_the_cause() {
        for kind in [Kind::Plain, Kind::Script, Kind::Foreign, Kind::Multi] {
            assert_eq!(rejected("BUSY", SCRIPT, kind), Some(Cause::Script));
            assert_eq!(rejected("BUSY", FUNCTION, kind), Some(Cause::Function));
            assert_eq!(
                rejected("BUSY", "Redis is busy running a module command.", kind),
                Some(Cause::Module)
            );
            let loading = "Redis is loading the dataset in memory";
            assert_eq!(rejected("LOADING", loading, kind), Some(Cause::Loading));
        }
        assert_eq!(rejected("BUSY", "a text of the module's own", Kind::Plain), Some(Cause::Module));
    }

    #[test]
    fn what_a_script_or_module_says_itself_is_final() {
        for kind in [Kind::Script, Kind::Foreign] {
            assert_eq!(rejected("BUSY", "something", kind), None);
            assert_eq!(rejected("BUSY", &format!("{SCRIPT} script: abc"), kind), None);
            assert_eq!(rejected("LOADING", "my own", kind), None);
        }
    }

    #[test]
    fn look_alikes_and_kills_are_final() {
        for code in ["BUSYKEY", "BUSYGROUP", "NOTBUSY", "busy", "ERR", "UNKILLABLE"] {
            assert_eq!(rejected(code, SCRIPT, Kind::Plain), None, "{code}");
        }
        assert_eq!(rejected("BUSY", SCRIPT, Kind::Kill), None, "a late kill hits another script");
        assert_eq!(rejected("ERR", "Target instance replied with error: BUSY x", Kind::Plain), None);
    }

    #[test]
    fn exec_names_the_cause_behind_its_own_code() {
        assert_eq!(aborted(&format!("Transaction discarded because of: BUSY {SCRIPT}")), Some(Cause::Script));
        assert_eq!(aborted("Transaction discarded because of previous errors."), None);
        assert_eq!(aborted("Transaction discarded because of: OOM command not allowed"), None);
    }
}
