//! What the engine is told to do: plain data.

use std::time::Duration;

use crate::Cause;

/// How long commands are held, and which, and in what order they may be sent again.
///
/// ```
/// use std::time::Duration;
/// let policy = unbusy_core::Policy { max_wait: Duration::from_secs(30), ..Default::default() };
/// assert!(policy.strict);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent settings")]
pub struct Policy {
    /// How long a command is held, counted from its first BUSY; zero: never.
    pub max_wait: Duration,
    /// Hold commands rejected because something runs (`-BUSY`).
    pub busy: bool,
    /// Hold commands rejected because the data set is being loaded (`-LOADING`).
    pub loading: bool,
    /// Never reorder the commands of one connection, not even around rejected ones.
    pub strict: bool,
    /// The server takes no more than 16 KiB at once from a connection, so that what is in flight must be a single write of
    /// no more than that: over TLS a record, and with I/O threads (Valkey 8.0, `io_threads.c`) a read.
    pub one_read: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_wait: Duration::from_secs(120), busy: true, loading: false, strict: true, one_read: false }
    }
}

impl Policy {
    /// How many bytes of unanswered commands may be in flight on a connection, unless there is only one command: a busy
    /// server reads all of them within its first hook, and a script cannot end inside a hook, so they are rejected together
    /// or accepted together. Without strict order this only bounds memory.
    ///
    /// In a hook a server looks four times what has come (`processEventsWhileBlocked` in the servers' networking.c), and each
    /// time reads 16 KiB of a connection (`PROTO_IOBUF_LEN` in server.h; a TLS record has no more, RFC 8446, section 5.1). One of
    /// these reads may be shorter: that with which an argument of 32 KiB or more ends (`readQueryFromClient`). Two of those have no
    /// room here, so three reads are sure. Where the server may still have to accept the connection, that takes one of them;
    /// `accepted` says that something has come from it.
    pub const fn window(&self, accepted: bool) -> usize {
        match (self.strict, self.one_read) {
            (false, _) => 1024 * 1024,
            (true, true) => 16 * 1024,
            (true, false) if accepted => 48 * 1024,
            (true, false) => 32 * 1024,
        }
    }

    /// Whether commands rejected for this cause are held.
    pub const fn holds(&self, cause: Cause) -> bool {
        self.holds_any()
            && match cause {
                Cause::Loading => self.loading,
                Cause::Script | Cause::Function | Cause::Module => self.busy,
            }
    }

    /// Whether anything is held at all.
    pub const fn holds_any(&self) -> bool {
        !self.max_wait.is_zero() && (self.busy || self.loading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_what_a_busy_server_reads_at_once() {
        let window = |strict, one_read| Policy { strict, one_read, ..Policy::default() }.window(false);
        assert_eq!([window(true, false), window(true, true)], [32_768, 16_384]);
        assert_eq!([window(false, false), window(false, true)], [1_048_576, 1_048_576]);
    }

    #[test]
    fn without_a_budget_or_a_cause_nothing_is_held() {
        let holds = |millis, busy, loading| {
            Policy { max_wait: Duration::from_millis(millis), busy, loading, ..Policy::default() }.holds_any()
        };
        assert!(holds(1, true, false) && holds(1, false, true));
        assert!(!holds(0, true, true) && !holds(1, false, false));
    }

    #[test]
    fn each_cause_is_held_if_it_is_to_be() {
        let busy = [Cause::Script, Cause::Function, Cause::Module];
        for (policy, held) in [
            (Policy::default(), true),
            (Policy { busy: false, loading: true, ..Policy::default() }, false),
            (Policy { max_wait: Duration::ZERO, loading: false, ..Policy::default() }, false),
        ] {
            assert!(busy.iter().all(|cause| policy.holds(*cause) == held));
            assert_eq!(policy.holds(Cause::Loading), policy.loading);
        }
    }
}
