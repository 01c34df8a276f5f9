//! Ends scripts that run for too long, where the operator wants that.
//!
//! Only what came through this proxy, since only of that it is known what it is and since when. Servers cannot be told which
//! script is meant: they kill what runs when the kill arrives. So that it meets no other script of this proxy, the gate lets
//! nobody go until the kill is answered. That it met no script of somebody else is certain if it is answered sooner than
//! such a one could have run for the threshold.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use unbusy_core::command::Kind;
use unbusy_core::{Cause, Company, Time, rejected};

use crate::config::{KillPolicy, Upstream};
use crate::inquiry::Inquiry;
use crate::notices;
use crate::running::{Call, Caller};
use crate::shared::Shared;
use crate::sync;
use crate::upstream::Connector;

/// It is looked for overdue scripts this often for each time that a script may take, within limits.
const LOOKS: u32 = 8;
const PACE_MIN: Duration = Duration::from_millis(5);
const PACE_MAX: Duration = Duration::from_millis(250);
/// Until the next try where this is not the moment.
const RETRY: Duration = Duration::from_millis(20);
/// For connecting, logging in, and what the server says before the kill.
const PREPARATION: Duration = Duration::from_secs(5);
/// A kill is answered at once, unless the script is within a long command; nobody is kept waiting for longer than this.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

const END_LOOKS: u32 = 5;

/// What became of a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Killed,
    /// Something was killed, but so late that it may have been another script.
    Uncertain,
    /// It had ended before.
    Over,
    /// It has written, so the server refuses.
    Written,
    /// The login does not allow it, or there is none.
    Refused,
    /// There was no answer.
    Unanswered,
}

pub(crate) const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Killed, "killed"),
    (Outcome::Uncertain, "uncertain"),
    (Outcome::Over, "over"),
    (Outcome::Written, "written"),
    (Outcome::Refused, "refused"),
    (Outcome::Unanswered, "unanswered"),
];

/// Watches, and kills.
pub(crate) struct Killer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) upstream: Upstream,
    pub(crate) policy: KillPolicy,
}

impl Killer {
    pub(crate) async fn watch(self) {
        let pace = (self.policy.after / LOOKS).clamp(PACE_MIN, PACE_MAX);
        // What there is nothing more to do about.
        let mut settled = None;
        loop {
            let overdue = self.shared.running.overdue(self.policy.after, sync::now());
            let pause = match overdue {
                Some((caller, call)) if settled != Some((caller, call.script.at)) => {
                    if self.deal_with(caller, &call).await {
                        settled = Some((caller, call.script.at));
                    }
                    RETRY
                }
                _ => pace,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether there is nothing more to do about it.
    async fn deal_with(&self, caller: Caller, call: &Call) -> bool {
        if let Some(reason) = self.spares(call) {
            notices::spared(call, reason, sync::now());
            return true;
        }
        let Some((outcome, answer)) = self.kill(caller, call).await else { return false };
        self.shared.killed(outcome);
        notices::kill(call, outcome, &answer, sync::now());
        true
    }

    /// Why it is not to be killed.
    fn spares(&self, call: &Call) -> Option<&'static str> {
        let KillPolicy { only, never, .. } = &self.policy;
        let named = |names: &[String]| names.contains(&call.script.name());
        if call.script.company == Company::Transaction {
            Some("it is in a transaction, of which the other commands would be executed")
        } else if call.script.company == Company::Others {
            Some("its client sent several at once, so it may be another of them that runs")
        } else if named(never) {
            Some("kill-never names it")
        } else if !only.is_empty() && !named(only) {
            Some("kill-only does not name it")
        } else {
            None
        }
    }

    /// What came of it, and what the server said; `None` if this is not the moment.
    async fn kill(&self, caller: Caller, call: &Call) -> Option<(Outcome, String)> {
        let prepared = tokio::time::timeout(PREPARATION, self.prepare()).await;
        let (mut server, cause, looked) = match prepared {
            Ok(Ok(Ready::Busy(server, cause, looked))) => (server, cause, looked),
            Ok(Ok(Ready::Refused(answer))) => return Some((Outcome::Refused, answer)),
            Ok(Ok(Ready::Open) | Err(_)) | Err(_) => return None,
        };
        if !call.script.is_of(cause) {
            return None;
        }
        self.shared.found_busy(cause, looked);
        let frozen = self.shared.freeze(caller, call.script.at)?;
        let answer = tokio::time::timeout(ANSWER_WAIT, server.ask(command(cause))).await;
        drop(frozen);
        Some(match answer {
            Ok(Ok(reply)) => {
                let judged = self.judge(&reply, looked);
                self.see_the_end(&mut server).await;
                judged
            }
            Ok(Err(error)) => (Outcome::Unanswered, error.to_string()),
            Err(_) => (Outcome::Unanswered, format!("no answer within {ANSWER_WAIT:?}")),
        })
    }

    /// A connection on which the server has just said what it is busy with, and when it was asked.
    async fn prepare(&self) -> io::Result<Ready> {
        let mut server = Inquiry::on(self.connector.connect().await?);
        let login = server.log_in(&self.upstream).await?.filter(|reply| reply.starts_with(b"-"));
        let looked = sync::now();
        let reply = server.ask(&["PING"]).await?;
        Ok(match running(&reply) {
            Some(cause) => Ready::Busy(server, cause, looked),
            None if reply.starts_with(b"-") => Ready::Refused(line(login.as_deref().unwrap_or(&reply))),
            None => Ready::Open,
        })
    }

    /// If nobody waits, nobody else finds out soon that the server is open. What was killed may run for a moment longer.
    async fn see_the_end(&self, server: &mut Inquiry) {
        for _ in 0..END_LOOKS {
            let asked = sync::now();
            match tokio::time::timeout(RETRY, server.ask(&["PING"])).await {
                Ok(Ok(reply)) if running(&reply).is_none() => return self.shared.observed(true, asked),
                Ok(Ok(_)) => tokio::time::sleep(PACE_MIN).await,
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    fn judge(&self, reply: &[u8], looked: Time) -> (Outcome, String) {
        let answer = line(reply);
        let in_time = self.shared.threshold().is_some_and(|threshold| sync::now() - looked < threshold);
        let outcome = match answer.split(' ').next() {
            Some("OK") if in_time => Outcome::Killed,
            Some("OK") => Outcome::Uncertain,
            // One of the other kind runs by now.
            Some("NOTBUSY" | "BUSY") => Outcome::Over,
            Some("UNKILLABLE") => Outcome::Written,
            _ => Outcome::Refused,
        };
        (outcome, answer)
    }
}

enum Ready {
    Busy(Inquiry, Cause, Time),
    Open,
    Refused(String),
}

const fn command(cause: Cause) -> &'static [&'static str] {
    if matches!(cause, Cause::Function) { &["FUNCTION", "KILL"] } else { &["SCRIPT", "KILL"] }
}

/// What the server runs, if it says that it does.
fn running(reply: &[u8]) -> Option<Cause> {
    let line = line(reply.strip_prefix(b"-")?);
    let (code, message) = line.split_once(' ')?;
    rejected(code, message, Kind::Plain)
}

/// A reply of one line, without its type and end.
fn line(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_start_matches(['-', '+']).trim_end().to_owned()
}
