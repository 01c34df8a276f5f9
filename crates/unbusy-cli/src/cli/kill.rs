//! The options of `unbusy kill`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::time::Duration;

use super::error::UsageError;
use super::parse::{self, Parsed};
use super::server::{ServerArgs, ServerSettings, option};

/// Longer than the threshold that servers have by default: what arrives in the silence before BUSY is answered at its end.
const TIMEOUT: Duration = Duration::from_secs(10);
const FOREVER: &str = "forever";

const MORE: &str = "\
It asks what runs, sends SCRIPT KILL or FUNCTION KILL, whichever is right, once, and tells what came of it. A script \
that has written already cannot be killed: the server refuses, since half of its writes would stay. Then one can only wait, \
or end the server with SHUTDOWN NOSAVE and lose what was not saved, which unbusy never does. Nor can scripts that come from a \
master, or modules' commands. The user of the URL needs the permissions +ping, +script|kill (+script before Redis 7.0), \
+function|kill and +function|stats. An open server is asked with PING, and with CONFIG GET for its threshold; nothing is changed.

How long has it run? Of functions the server tells. Of scripts it does not, so at first only the threshold is certain: the \
server did not answer BUSY earlier. Tell it with --busy-threshold; with --wait it is read while the server is open; else it counts \
as 0. With --wait the time is added in which the server was seen to be busy, without a gap in which one script could \
end and another get as far as BUSY (100 ms where the threshold is not known). What is counted so is never more than the \
script's age.

Is it the one that was looked at? It can end by itself, and another begin, while the kill is on its way. But that one cannot \
be killed before it has run for the threshold, so if the kill is answered sooner, it was the one that was looked at. If not, it \
may have been another; the command says so. Nothing can be done about it: servers kill what runs when the kill arrives.

Exit codes:
  0  killed
  1  nothing to kill: the server is open, or is loading its data set, or the script ended by itself
  2  a mistake in the options, variables or file
  3  stalled: no answer within --timeout
  4  unreachable
  5  not killed: it has not certainly run as long as --if-running-longer-than says
  6  refused: a login is missing or wrong, or lacks the permission
  7  cannot be killed: it has written, comes from a master, or is a module's command

With --json the object has the fields `server`, `outcome` (killed, nothing to kill, stalled, unreachable, too young, refused, \
cannot be killed), and where they are known `kind`, `function`, `ran_ms` (functions), `ran_at_least_ms`, `threshold_ms`, \
`answered_ms` (from the last look at it to the answer to the kill), `same` (whether it certainly was the one that was looked at, \
null if the threshold is not known), `state` (of the server, afterwards) and `reason`.

Examples:
  unbusy kill redis://10.0.0.5:6379
      Kill what makes this server busy, now.
  unbusy kill --if-running-longer-than 30s --wait redis://10.0.0.5:6379
      Wait for a script that runs longer than 30 seconds, kill it, and end.
  while unbusy kill --wait --if-running-longer-than 1m; do :; done
      A watchdog for the server of UNBUSY_UPSTREAM or REDIS_URL.";

/// Kills the script or function that makes a server busy, and tells what came of it
#[derive(Debug, clap::Args)]
#[command(after_help = MORE)]
pub(crate) struct KillArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    server: ServerArgs,

    /// Only what has certainly run for so long
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    if_running_longer_than: Option<String>,

    /// If there is nothing to kill (yet), look again, for so long, or until something was killed
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = FOREVER)]
    wait: Option<String>,

    /// How long connecting, and each answer, may take [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Option<String>,
}

#[derive(Debug)]
pub(crate) struct KillSettings {
    pub(crate) server: ServerSettings,
    pub(crate) longer_than: Duration,
    pub(crate) wait: Wait,
}

/// How long to look for something to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    For(Duration),
    Forever,
}

impl KillArgs {
    pub(crate) fn settings(&self) -> Result<KillSettings, UsageError> {
        let longer_than = self.if_running_longer_than.as_ref();
        let longer_than = option("if-running-longer-than", longer_than, parse::duration)?;
        Ok(KillSettings {
            server: self.server.settings(self.timeout.as_ref(), TIMEOUT)?,
            longer_than: longer_than.unwrap_or(Duration::ZERO),
            wait: option("wait", self.wait.as_ref(), wait)?.unwrap_or(Wait::For(Duration::ZERO)),
        })
    }
}

fn wait(text: &str) -> Parsed<Wait> {
    if text == FOREVER { Ok(Wait::Forever) } else { parse::duration(text).map(Wait::For) }
}
