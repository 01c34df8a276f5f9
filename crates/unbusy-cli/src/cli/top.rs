//! The options of `unbusy top`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::time::Duration;

use super::error::UsageError;
use super::parse::{self, Parsed};
use super::server::{SERVER_OR_PROXY, ServerArgs, Subject, option};

/// A connection that is silent for so long is given up, and another made; so this is long.
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(500);
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(10);

const MORE: &str = "\
Of a proxy it shows the state of its server, who waits, and the last episodes, each with the script or function and the client \
that ran it; and what each script costs, also those that are short and many (key s). The proxy must have --admin ADDRESS.

Of a server it shows what the server itself tells, also while it is busy: the state, the function that runs, and, while it is \
open, how many commands it rejected. Which clients wait, which script runs, and what each costs, no server tells. It sends one PING every \
--interval; those that are answered with BUSY are counted by the server, too.

Times of day are UTC, as in the log.

Keys:
  q, Esc, Ctrl-C        end
  s                     what scripts cost instead of the episodes, and back
  arrows, PageUp, PageDown, Home, End   move through the table
  p                     pause, go on
  ?                     what the words mean

Colours are left out if NO_COLOR is set; nothing is told by colour alone. Without a terminal, use `unbusy status`.

Exit codes: 0 if ended with a key, 1 if the terminal fails, 2 for a mistake in the options, variables or file, or without a \
terminal, 128+N after signal N.

Examples:
  unbusy top http://127.0.0.1:9380
      What `unbusy proxy --admin 127.0.0.1:9380` sees.
  unbusy top redis://10.0.0.5:6379
      A server, without a proxy.
  unbusy top rediss://:secret@redis.lan --upstream-ca ca.pem --interval 250ms
      With TLS; looks four times a second.";

/// Shows live in the terminal what a server does: open, busy with what, since when, and who waits
#[derive(Debug, clap::Args)]
#[command(after_help = MORE, mut_arg("url", |url| url.help(SERVER_OR_PROXY)))]
pub(crate) struct TopArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// How often to look, from 100ms to 10s [default: 500ms]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    interval: Option<String>,

    /// How long connecting, and each answer, may take before a new connection is made [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Option<String>,
}

#[derive(Debug)]
pub(crate) struct TopSettings {
    pub(crate) subject: Subject,
    pub(crate) interval: Duration,
}

impl TopArgs {
    pub(crate) fn settings(&self) -> Result<TopSettings, UsageError> {
        Ok(TopSettings {
            subject: self.server.subject(self.timeout.as_ref(), TIMEOUT)?,
            interval: option("interval", self.interval.as_ref(), interval)?.unwrap_or(INTERVAL),
        })
    }
}

fn interval(text: &str) -> Parsed<Duration> {
    let interval = parse::duration(text)?;
    if !INTERVALS.contains(&interval) {
        return Err("not from 100ms to 10s; write it like 250ms or 1s".to_owned());
    }
    Ok(interval)
}
