//! `unbusy kill`: ends what makes a server busy.
mod outcome;
mod sightings;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use unbusy_core::Cause;

use outcome::{Killed, Outcome, Why};
use sightings::Sightings;

use crate::asking::{Asker, Busy, Condition, Link, Reply, ago, block_on, printable};
use crate::cli::{KillArgs, KillSettings, Wait};

/// A script that was killed ends at once, but questions that arrived with the kill are still answered BUSY.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const END_PACE: Duration = Duration::from_millis(5);

pub(crate) fn run(args: &KillArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let asker = Asker::new(&settings.server)?;
    let outcome = block_on(hunt(&asker, &settings))?;
    let server = settings.server.server.to_string();
    let text = if args.json { format!("{}\n", outcome.fields(&server)) } else { outcome.words(&server) };
    // Not println, which panics when nobody reads.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(outcome.exit_code()))
}

/// Looks, and kills what it is to kill; as often as it may wait.
async fn hunt(asker: &Asker, settings: &KillSettings) -> Outcome {
    let begin = Instant::now();
    let mut hunter = Hunter { settings, sightings: Sightings::default(), told: String::new() };
    hunter.sightings.know_threshold(settings.server.threshold);
    let mut link = None;
    loop {
        let outcome = match hunter.connected(asker, &mut link).await {
            Ok(link) => hunter.try_once(link).await,
            Err(condition) => Outcome::NoAnswer(condition),
        };
        let waits = match settings.wait {
            Wait::Forever => true,
            Wait::For(limit) => begin.elapsed() < limit,
        };
        if !waits || !may_change(&outcome) {
            return outcome;
        }
        if let Outcome::NoAnswer(_) = &outcome {
            // Its answer may still come, and would be taken for that to the next question.
            link = None;
        }
        hunter.tell(&outcome);
        tokio::time::sleep(hunter.sightings.pace()).await;
    }
}

/// Whether looking again can help.
const fn may_change(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Nothing(_) | Outcome::OverBefore(_) | Outcome::TooYoung { .. } => true,
        Outcome::NoAnswer(condition) => matches!(condition, Condition::Stalled { .. }),
        Outcome::Killed(_)
        | Outcome::Unanswered(_)
        | Outcome::Refused { .. }
        | Outcome::Unkillable { .. } => false,
    }
}

struct Hunter<'a> {
    settings: &'a KillSettings,
    sightings: Sightings,
    /// What was told last of why it waits.
    told: String,
}

impl Hunter<'_> {
    async fn connected<'l>(
        &self,
        asker: &Asker,
        link: &'l mut Option<Link>,
    ) -> Result<&'l mut Link, Condition> {
        match link {
            Some(link) => Ok(link),
            None => Ok(link.insert(asker.connect().await?)),
        }
    }

    async fn try_once(&mut self, link: &mut Link) -> Outcome {
        let (asked, condition) = self.look(link).await;
        let busy = match condition {
            Condition::Busy(busy) => busy,
            other => {
                self.sightings.not_busy();
                return self.without_script(link, other).await;
            }
        };
        self.sightings.busy(busy.cause, asked, Instant::now());
        let age = busy.function.as_ref().map_or_else(|| self.sightings.age(), |running| running.since);
        let wanted = self.settings.longer_than;
        if age < wanted {
            return Outcome::TooYoung { busy, age, wanted };
        }
        self.kill(link, busy, asked).await
    }

    /// The state, and when it was asked for.
    async fn look(&self, link: &mut Link) -> (Instant, Condition) {
        let asked = Instant::now();
        let condition = link.look().await;
        if matches!(condition, Condition::Busy(_)) && asked.elapsed() > self.sightings.pace() {
            // It came at the end of the silence. Which moment was it true of? Now the answer comes at once.
            return (Instant::now(), link.look().await);
        }
        (asked, condition)
    }

    async fn without_script(&mut self, link: &mut Link, condition: Condition) -> Outcome {
        let will_look_again = self.settings.wait != Wait::For(Duration::ZERO);
        match condition {
            Condition::Open { .. } => {
                if will_look_again && self.sightings.threshold().is_none() {
                    self.sightings.know_threshold(link.threshold().await);
                }
                Outcome::Nothing(condition)
            }
            Condition::Loading { .. } => Outcome::Nothing(condition),
            other => Outcome::NoAnswer(other),
        }
    }

    async fn kill(&mut self, link: &mut Link, busy: Busy, looked: Instant) -> Outcome {
        let command = match busy.cause {
            Cause::Script => ["SCRIPT", "KILL"],
            Cause::Function => ["FUNCTION", "KILL"],
            Cause::Module | Cause::Loading => {
                let reason = busy.error.clone();
                return Outcome::Unkillable { busy, why: Why::Module, reason };
            }
        };
        let reply = link.ask(&command).await;
        let answered = looked.elapsed();
        let reason = match reply {
            Err(condition) => return Outcome::Unanswered(condition),
            Ok(Reply::Error(reason)) => printable(&reason),
            Ok(_) => return self.killed(link, busy, answered).await,
        };
        match reason.split(' ').next() {
            // Of the other kind: what was looked at is over.
            Some("NOTBUSY" | "BUSY") => Outcome::OverBefore(busy),
            Some("UNKILLABLE") => {
                let why = Why::of(&reason);
                Outcome::Unkillable { busy, why, reason }
            }
            _ => Outcome::Refused { reason },
        }
    }

    async fn killed(&mut self, link: &mut Link, busy: Busy, answered: Duration) -> Outcome {
        let end = Instant::now() + ENDS_WITHIN;
        let mut afterwards = link.look().await;
        while matches!(afterwards, Condition::Busy(_)) && Instant::now() < end {
            tokio::time::sleep(END_PACE).await;
            afterwards = link.look().await;
        }
        if matches!(afterwards, Condition::Open { .. }) && self.sightings.threshold().is_none() {
            self.sightings.know_threshold(link.threshold().await);
        }
        let age = busy.function.as_ref().map_or_else(|| self.sightings.age(), |running| running.since);
        let threshold = self.sightings.threshold();
        Outcome::Killed(Killed { busy, age, threshold, answered, afterwards })
    }

    /// Says why it waits, when that changes.
    fn tell(&mut self, outcome: &Outcome) {
        let text = match outcome {
            Outcome::Nothing(condition) | Outcome::NoAnswer(condition) => {
                format!("waiting: the server is {}", condition.name())
            }
            Outcome::TooYoung { busy, .. } => {
                format!("waiting: until {} has run for {}", busy.what(), ago(self.settings.longer_than))
            }
            _ => return,
        };
        if text != self.told {
            let _ = writeln!(std::io::stderr(), "{text}");
            self.told = text;
        }
    }
}
