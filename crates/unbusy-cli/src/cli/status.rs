//! The options of `unbusy status`.
#![allow(clippy::doc_markdown, reason = "the comments on options are their help texts")]

use std::time::Duration;

use super::error::UsageError;
use super::server::{SERVER_OR_PROXY, ServerArgs, Subject};

const TIMEOUT: Duration = Duration::from_secs(1);

const MORE: &str = "\
It connects, logs in if the URL has a password, and asks with one PING (and FUNCTION STATS, if a function runs): all of \
that a busy server answers. It selects no database. Name the server itself: a proxy holds the PING as long as the server \
is busy, so that it looks stalled.

With a proxy's --admin it is the state that this proxy sees, and it names the script and its client if they came through it. A proxy \
learns of its server by its clients; if none waits, it is asked whether it can reach the server (/readyz).

A script's name and age are not told by a server while it runs; its log has the SHA1 (\"Slow script detected\").

Exit codes:
  0  open: it answers
  1  busy: a script, a function or a module's command runs, and it rejects commands
  2  a mistake in the options, variables or file
  3  stalled: connected, but no answer within --timeout; it may be about to answer BUSY
  4  unreachable: no connection, or it was closed
  5  loading its data set
  6  refused: it answers, but with an error that hides its state: a login is missing or wrong, or may not PING

With --json the object has the fields `server` and `state` (open, busy, stalled, unreachable, loading, refused); if open \
`round_trip_ms`; if busy `kind` (script, function, module), `function`, `running_ms` and, with --show-arguments, `command` \
(each null where it is not known), `running_at_least_ms` (from --busy-threshold, else null) and `error`, the server's text; if \
stalled `silent_ms`; else `reason`. Of a proxy it is its /api/state without the episodes, with `proxy`, its URL, and the same names for \
`state`; and, if nothing can be learned or the server not be reached, `reason`.

Examples:
  unbusy status redis://10.0.0.5:6379
      One line, and what can be done.
  until unbusy status --timeout 10s > /dev/null; do sleep 1; done
      Wait until the server of UNBUSY_UPSTREAM or REDIS_URL is open.
  unbusy status rediss://:secret@redis.lan --upstream-ca ca.pem --json
      For programs; with TLS.
  unbusy status http://127.0.0.1:9380
      As the proxy with --admin 127.0.0.1:9380 sees its server.
  unbusy status unix:/run/redis.sock; test $? -le 1
      A liveness probe that does not end a server because it is busy.";

/// Tells whether a server is open, busy, stalled or unreachable; also while it is busy, and also as a proxy sees it
#[derive(Debug, clap::Args)]
#[command(after_help = MORE, mut_arg("url", |url| url.help(SERVER_OR_PROXY)))]
pub(crate) struct StatusArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    server: ServerArgs,

    /// How long connecting, and each answer, may take [default: 1s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Option<String>,

    /// Show the whole command that called a function, which may hold secrets
    #[arg(long)]
    pub(crate) show_arguments: bool,
}

impl StatusArgs {
    pub(crate) fn subject(&self) -> Result<Subject, UsageError> {
        self.server.subject(self.timeout.as_ref(), TIMEOUT)
    }
}
