//! Makes of single looks at a server what lasts: since when it does what it does, and episodes.

use std::time::Duration;

use super::super::picture::Now;
use super::super::sight::{Culprit, Doing, Episode};
use crate::asking::{Busy, Condition};

#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// What it does, and since when.
    now: Option<(Doing, Now)>,
    /// Since when no command was accepted.
    shut: Option<Now>,
    /// The episode that goes on.
    busy: Option<(Now, Culprit)>,
    ended: u64,
}

impl Sightings {
    /// Notes what is true from this moment on, at least; the episode that is over by that, if one is.
    pub(super) fn note(&mut self, condition: &Condition, at: Now) -> Option<Episode> {
        let doing = doing(condition);
        let began = match condition {
            // A function's age the server knows better.
            Condition::Busy(Busy { function: Some(running), .. }) => {
                at.saturating_sub(running.since.as_millis() as u64)
            }
            _ => match &self.now {
                Some((before, since)) if same(before, &doing) => *since,
                _ => at,
            },
        };
        self.now = Some((doing.clone(), began));
        let over = match &doing {
            Doing::Open => {
                self.shut = None;
                true
            }
            // The process that was busy is gone, or may be.
            Doing::Unreachable(_) => true,
            Doing::Busy(culprit) => {
                match &mut self.busy {
                    Some((_, known)) => *known = better(known, culprit),
                    None => self.busy = Some((at, culprit.clone())),
                }
                false
            }
            Doing::Stalled | Doing::Refused(_) => false,
        };
        if doing != Doing::Open {
            self.shut.get_or_insert(at);
        }
        if over { self.end(at) } else { None }
    }

    fn end(&mut self, now: Now) -> Option<Episode> {
        let (began, culprit) = self.busy.take()?;
        self.ended += 1;
        Some(Episode {
            number: self.ended,
            began_ms: began,
            lasted: Duration::from_millis(now.saturating_sub(began)),
            culprit,
            waited: None,
        })
    }

    /// What it does, and for how long.
    pub(super) fn current(&self, now: Now) -> Option<(Doing, Duration)> {
        let (doing, since) = self.now.as_ref()?;
        Some((doing.clone(), Duration::from_millis(now.saturating_sub(*since))))
    }

    /// For how long no command was accepted, or nothing is known of one.
    pub(super) fn shut(&self, now: Now) -> Duration {
        Duration::from_millis(self.shut.map_or(0, |since| now.saturating_sub(since)))
    }
}

fn doing(condition: &Condition) -> Doing {
    let loading = Culprit { cause: "loading".to_owned(), ..Culprit::default() };
    match condition {
        Condition::Open { .. } => Doing::Open,
        Condition::Stalled { .. } => Doing::Stalled,
        Condition::Loading { .. } => Doing::Busy(loading),
        Condition::Busy(busy) => Doing::Busy(Culprit {
            cause: busy.cause.name().to_owned(),
            script: busy.function.as_ref().map(|running| running.name.clone()),
            client: None,
        }),
        Condition::Unreachable { reason } => Doing::Unreachable(reason.clone()),
        Condition::Refused { reason } => Doing::Refused(reason.clone()),
    }
}

/// Whether it goes on doing the same, if perhaps for another reason.
fn same(before: &Doing, now: &Doing) -> bool {
    match (before, now) {
        (Doing::Busy(before), Doing::Busy(now)) => before.cause == now.cause,
        _ => std::mem::discriminant(before) == std::mem::discriminant(now),
    }
}

/// The name of a function may be told late, or not any more.
fn better(known: &Culprit, told: &Culprit) -> Culprit {
    Culprit { script: told.script.clone().or_else(|| known.script.clone()), ..told.clone() }
}

#[cfg(test)]
mod tests {
    use unbusy_core::Cause;

    use super::*;

    const OPEN: Condition = Condition::Open { round_trip: Duration::ZERO };
    const SILENT: Condition = Condition::Stalled { silent: Duration::ZERO };

    fn busy() -> Condition {
        Condition::Busy(Busy { cause: Cause::Script, error: String::new(), function: None })
    }

    fn gone() -> Condition {
        Condition::Unreachable { reason: "gone".to_owned() }
    }

    #[test]
    fn an_episode_is_from_the_first_busy_to_the_first_that_is_not() {
        let mut sightings = Sightings::default();
        let looks = [(SILENT, 10), (busy(), 20), (SILENT, 30), (busy(), 40)];
        assert!(looks.iter().all(|(condition, at)| sightings.note(condition, *at).is_none()));
        assert_eq!(sightings.shut(45), Duration::from_millis(35), "from the silence on");
        let over = sightings.note(&OPEN, 50).expect("an episode");
        assert_eq!((over.number, over.began_ms, over.lasted), (1, 20, Duration::from_millis(30)));
        assert_eq!(sightings.shut(60), Duration::ZERO);
        assert_eq!(sightings.current(60), Some((Doing::Open, Duration::from_millis(10))));
        assert_eq!(sightings.note(&busy(), 70), None);
        assert_eq!(sightings.note(&gone(), 80).expect("an end").number, 2);
        assert_eq!(sightings.note(&OPEN, 90), None);
    }
}
