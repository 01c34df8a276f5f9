//! The options of `unbusy doctor`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::time::Duration;

use super::error::UsageError;
use super::server::{ServerArgs, ServerSettings};

const TIMEOUT: Duration = Duration::from_secs(10);

const MORE: &str = "\
It reads (PING, INFO, CONFIG GET of some settings, SLOWLOG GET, LATENCY LATEST, CLIENT LIST; of a Sentinel INFO and SENTINEL \
MASTERS) and changes nothing. What it may not read it names, and goes on. Each finding tells what was seen, why it matters, and \
the command that mends it, to be run by you:
  problem  does harm when a script runs for long
  warning  costs something, or did
  note     good to know
  ok       as it should be

A Sentinel is examined by its own URL; it does not tell its masters' threshold, so give that with --busy-threshold \
if it is not 5s.

The slow log holds commands with their arguments. Of these only SHA1s and the names of functions are shown, unless \
--show-arguments is given.

Exit codes:
  0  no problem; there may be warnings
  1  a problem; or the server is busy, and cannot be examined now
  2  a mistake in the options, variables or file
  3, 4, 5, 6  stalled, unreachable, loading, refused: as for `unbusy status`

With --json the object has the fields `server`, `state`, `version`, `threshold_ms` (null if it is not known), `problem` (whether \
there is one) and `findings`, a list of objects with `severity`, `about`, `seen`, `why` and `do` (the last two can be null). For a \
server that is not open it is the object of `unbusy status`.

Examples:
  unbusy doctor redis://10.0.0.5:6379
      All findings, the worst first.
  unbusy doctor redis://10.0.0.9:26379 --busy-threshold 5s
      A Sentinel.
  unbusy doctor --json | jq '.findings[] | select(.severity == \"problem\")'
      For programs; the server of UNBUSY_UPSTREAM or REDIS_URL.";

/// Examines a server for what makes BUSY likely, long or harmful, and tells how to mend it
#[derive(Debug, clap::Args)]
#[command(after_help = MORE)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    server: ServerArgs,

    /// How long connecting, and each answer, may take [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Option<String>,

    /// Show the arguments of scripts in the slow log, and EVAL's text, which may hold secrets
    #[arg(long)]
    pub(crate) show_arguments: bool,
}

impl DoctorArgs {
    pub(crate) fn settings(&self) -> Result<ServerSettings, UsageError> {
        self.server.settings(self.timeout.as_ref(), TIMEOUT)
    }
}
