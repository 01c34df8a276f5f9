//! A server itself: one PING after the other, and `INFO` from time to time while it is open.

use std::sync::mpsc::SendError;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval as ticks};

use super::Desk;
use super::sightings::Sightings;
use crate::asking::{Asker, Condition, Link, field, info_lines};
use crate::commands::top::clock::Clock;
use crate::commands::top::sight::{Cost, News, Rejections, Sight, Totals, Waiting};

/// Who has not answered by then is silent.
const SILENT_AFTER: Duration = Duration::from_millis(500);
const INFO_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn watch(asker: &Asker, interval: Duration, threshold: Option<Duration>, desk: &Desk) {
    let watcher = Watcher {
        desk,
        interval,
        threshold,
        clock: Clock::start(),
        sightings: Sightings::default(),
        statistics: Statistics::default(),
    };
    // It ends only when nobody is there any more.
    let _ = watcher.watch(asker).await;
}

struct Watcher<'a> {
    desk: &'a Desk,
    interval: Duration,
    /// As the user told it.
    threshold: Option<Duration>,
    clock: Clock,
    sightings: Sightings,
    statistics: Statistics,
}

/// What `INFO` tells.
#[derive(Debug, Default)]
struct Statistics {
    asked: Option<Instant>,
    run_id: Option<String>,
    rejections: Option<Rejections>,
}

impl Watcher<'_> {
    async fn watch(mut self, asker: &Asker) -> Result<(), SendError<News>> {
        let mut link = None;
        loop {
            let condition = match &mut link {
                None => match self.patiently(asker.connect()).await? {
                    Ok(new) => {
                        link = Some(new);
                        continue;
                    }
                    Err(condition) => condition,
                },
                Some(link) => match self.patiently(link.look()).await? {
                    open @ Condition::Open { .. } => self.statistics(link).await?.unwrap_or(open),
                    other => other,
                },
            };
            if !matches!(condition, Condition::Open { .. } | Condition::Busy(_) | Condition::Loading { .. }) {
                // An answer may still come, and would be taken for that to the next question.
                link = None;
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Asks for statistics if it is time; the state if it is not open any more.
    async fn statistics(&mut self, link: &mut Link) -> Result<Option<Condition>, SendError<News>> {
        if !self.statistics.are_old() {
            return Ok(None);
        }
        match self.patiently(info(link)).await? {
            Ok(text) => {
                self.statistics.read(&text);
                self.desk.tell(News::Scripts(costs(&text), self.clock.now()))?;
                Ok(None)
            }
            Err(condition) => Ok(Some(condition)),
        }
    }

    /// The answer to a question, and meanwhile how long it has been awaited.
    async fn patiently<T: Answer>(
        &mut self,
        question: impl Future<Output = T>,
    ) -> Result<T, SendError<News>> {
        let asked = self.clock.now();
        let mut question = std::pin::pin!(question);
        let mut ticks = ticks(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                answer = &mut question => {
                    if let Some(condition) = answer.condition() {
                        self.note(condition, asked)?;
                    }
                    return Ok(answer);
                }
                _ = ticks.tick() => {
                    let silent = Duration::from_millis(self.clock.now() - asked);
                    if silent >= SILENT_AFTER {
                        self.note(&Condition::Stalled { silent }, asked)?;
                    }
                }
            }
        }
    }

    fn note(&mut self, condition: &Condition, asked: u64) -> Result<(), SendError<News>> {
        let now = self.clock.now();
        // It was silent since it was asked; anything else is true of the moment in which it answers.
        let since = if matches!(condition, Condition::Stalled { .. }) { asked } else { now };
        let over = self.sightings.note(condition, since);
        if let Some((doing, lasted)) = self.sightings.current(now) {
            let waiting = match condition {
                Condition::Open { round_trip } => *round_trip,
                _ => self.sightings.shut(now),
            };
            self.desk.tell(News::Sight(Box::new(Sight {
                now_ms: now,
                start: self.statistics.run_id.clone(),
                behind: None,
                doing,
                lasted,
                threshold: self.threshold,
                waiting: Waiting::Anyone(waiting),
                totals: Totals::Server(self.statistics.rejections.clone()),
            })))?;
        }
        over.map_or(Ok(()), |episode| self.desk.tell(News::Episodes(vec![episode])))
    }
}

/// What a question can be answered with.
trait Answer {
    /// The state that shows in it.
    fn condition(&self) -> Option<&Condition>;
}

impl Answer for Condition {
    fn condition(&self) -> Option<&Condition> {
        Some(self)
    }
}

impl<T> Answer for Result<T, Condition> {
    fn condition(&self) -> Option<&Condition> {
        self.as_ref().err()
    }
}

/// What of `INFO` may be asked, and is answered.
async fn info(link: &mut Link) -> Result<String, Condition> {
    let mut text = String::new();
    for section in ["server", "errorstats", "commandstats"] {
        let reply = link.ask(&["INFO", section]).await?;
        text += &reply.lines().unwrap_or_default();
    }
    Ok(text)
}

/// What a server tells of scripts: only the commands that run them.
fn costs(info: &str) -> Vec<Cost> {
    const FAMILIES: [&str; 6] = ["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"];
    let told = info_lines(info).filter_map(|(name, value)| {
        let name = name.strip_prefix("cmdstat_").filter(|name| FAMILIES.contains(name))?.to_uppercase();
        let (runs, blocked) = (field(&value, "calls")?, Duration::from_micros(field(&value, "usec")?));
        (runs > 0).then_some(Cost { name, runs, blocked, longest: None })
    });
    let mut costs: Vec<_> = told.collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.blocked));
    costs
}

impl Statistics {
    fn are_old(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= INFO_EVERY)
    }

    fn read(&mut self, info: &str) {
        self.asked = Some(Instant::now());
        if info.is_empty() {
            return;
        }
        let mut rejections = Rejections::default();
        for (name, value) in info_lines(info) {
            if name == "run_id" {
                self.run_id = Some(value);
            } else if name == "errorstat_BUSY" {
                rejections.busy = field(&value, "count").unwrap_or_default();
            } else if let Some(command) = name.strip_prefix("cmdstat_") {
                let count = field(&value, "rejected_calls").unwrap_or_default();
                rejections.by_command.extend((count > 0).then(|| (command.to_owned(), count)));
            }
        }
        rejections.by_command.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self.rejections = Some(rejections);
    }
}
