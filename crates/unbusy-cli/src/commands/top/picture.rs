//! All that is known of what is watched: what is drawn.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::sight::{Cost, Episode, News, Sight};

/// So much of the past is in the chart.
pub(super) const CHART_SPAN: Duration = Duration::from_secs(120);
/// For so long a restart is told.
const RESTART_TOLD: Duration = Duration::from_secs(300);
/// As many as a proxy remembers.
const EPISODES_MAX: usize = 10_000;

/// Milliseconds since 1970, by this machine's clock, but never running backwards.
pub(super) type Now = u64;

/// What a script costs.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) cost: Cost,
    /// Of the time between the last two looks, if there were two.
    pub(super) share: Option<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// What is watched, as the user named it.
    pub(super) subject: String,
    /// The last sight, and when it came.
    pub(super) sight: Option<(Sight, Now)>,
    /// Since when nothing can be learned, and why.
    pub(super) lost: Option<(Now, String)>,
    /// Why a proxy cannot serve clients.
    pub(super) unready: Option<String>,
    /// When another process was found.
    restarted: Option<Now>,
    /// The newest first.
    pub(super) episodes: VecDeque<Episode>,
    /// The dearest first.
    pub(super) scripts: Vec<Script>,
    /// When they were told.
    scripts_at: Now,
    /// The number of the last episode of this process.
    told: u64,
    /// What the chart shows, and when it was so; nothing while nothing could be learned.
    samples: VecDeque<(Now, Option<u64>)>,
    /// The most since the last sample.
    peak: u64,
}

impl Picture {
    pub(super) const fn new(subject: String) -> Self {
        Self {
            subject,
            sight: None,
            lost: None,
            unready: None,
            restarted: None,
            episodes: VecDeque::new(),
            scripts: Vec::new(),
            scripts_at: 0,
            told: 0,
            samples: VecDeque::new(),
            peak: 0,
        }
    }

    /// Takes in what was told. How many episodes are new?
    pub(super) fn take(&mut self, news: News, now: Now) -> usize {
        match news {
            News::Sight(sight) => self.see(*sight, now),
            News::Episodes(episodes) => return self.add(episodes),
            News::Scripts(costs, at) => self.price(costs, at),
            News::Unready(reason) => self.unready = reason,
            News::Lost(reason) => {
                let since = self.lost.as_ref().map_or(now, |(since, _)| *since);
                self.lost = Some((since, reason));
            }
        }
        0
    }

    fn see(&mut self, sight: Sight, now: Now) {
        let start = |sight: &Sight| sight.start.clone();
        let before = self.sight.as_ref().and_then(|(before, _)| start(before));
        if before.is_some() && sight.start.is_some() && before != sight.start {
            self.restarted = Some(now);
            self.told = 0;
        }
        self.peak = self.peak.max(sight.pulse());
        self.lost = None;
        let start = sight.start.clone().or(before);
        self.sight = Some((Sight { start, ..sight }, now));
    }

    fn add(&mut self, episodes: Vec<Episode>) -> usize {
        let told = self.told;
        let new = episodes.into_iter().filter(|episode| episode.number > told);
        let before = self.episodes.len();
        for episode in new {
            self.told = episode.number;
            self.episodes.push_front(episode);
        }
        let new = self.episodes.len() - before;
        self.episodes.truncate(EPISODES_MAX);
        new
    }

    fn price(&mut self, costs: Vec<Cost>, at: Now) {
        let passed = Duration::from_millis(at.saturating_sub(self.scripts_at));
        let before: HashMap<_, _> =
            self.scripts.iter().map(|Script { cost, .. }| (cost.name.as_str(), cost.blocked)).collect();
        // A first look cannot tell what was when; what is less than before is of another process.
        let is_known = self.scripts_at > 0 && !passed.is_zero();
        let share = |cost: &Cost| {
            let more = cost.blocked.checked_sub(before.get(cost.name.as_str()).copied().unwrap_or_default());
            more.filter(|_| is_known).map(|more| more.as_secs_f64() / passed.as_secs_f64())
        };
        let scripts = costs.into_iter().map(|cost| Script { share: share(&cost), cost }).collect();
        self.scripts = scripts;
        self.scripts_at = at;
    }

    /// The share of the time in which scripts kept the server from everybody else, when they were told last.
    pub(super) fn scripts_share(&self) -> Option<f64> {
        let shares: Option<Vec<f64>> = self.scripts.iter().map(|script| script.share).collect();
        shares.filter(|shares| !shares.is_empty()).map(|shares| shares.iter().sum())
    }

    /// Notes what the chart is to show of the time since the last sample.
    pub(super) fn sample(&mut self, now: Now) {
        let seen = self.sight.as_ref().filter(|_| self.lost.is_none());
        let value = seen.map(|(sight, _)| self.peak.max(sight.pulse()));
        self.peak = 0;
        self.samples.push_back((now, value));
        let oldest = now.saturating_sub(CHART_SPAN.as_millis() as u64);
        while self.samples.front().is_some_and(|(at, _)| *at < oldest) {
            self.samples.pop_front();
        }
    }

    /// The samples in so many parts of the time, the latest last: the most of each part.
    pub(super) fn chart(&self, parts: usize, now: Now) -> Vec<Option<u64>> {
        let (span, parts) = (CHART_SPAN.as_millis() as u64, parts as u64);
        let begin = now.saturating_sub(span);
        let part = |at: Now| ((at.saturating_sub(begin)) * parts / span).min(parts.saturating_sub(1));
        let mut chart: Vec<Option<u64>> = vec![None; parts as usize];
        let mut last: Option<u64> = None;
        for &(at, value) in self.samples.iter().filter(|(at, _)| parts > 0 && *at >= begin) {
            let here = part(at);
            // Parts without a sample of their own are as it was before.
            if let Some(last) = last {
                let before = chart[last as usize].filter(|_| value.is_some());
                chart[(last as usize + 1).min(here as usize)..here as usize].fill(before);
            }
            let most = &mut chart[here as usize];
            *most = (*most).max(value);
            last = Some(here);
        }
        chart
    }

    /// By the clock of whoever told the last sight: what time is it now?
    pub(super) fn their_now(&self, now: Now) -> Now {
        self.sight.as_ref().map_or(now, |(sight, came)| sight.now_ms + now.saturating_sub(*came))
    }

    /// For how long the server has done what it does.
    pub(super) fn lasted(&self, now: Now) -> Duration {
        let Some((sight, came)) = &self.sight else { return Duration::ZERO };
        let more = if sight.goes_on() && self.lost.is_none() { now.saturating_sub(*came) } else { 0 };
        sight.lasted + Duration::from_millis(more)
    }

    /// How long ago another process was found, if that is still news.
    pub(super) fn restarted(&self, now: Now) -> Option<Duration> {
        let ago = Duration::from_millis(now.saturating_sub(self.restarted?));
        (ago < RESTART_TOLD).then_some(ago)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::sight::{Culprit, Doing, Totals, Waiting};

    const SECOND: Now = 1_000;

    fn sight(start: &str, waiting: u64) -> News {
        News::Sight(Box::new(Sight {
            now_ms: 0,
            start: Some(start.to_owned()),
            behind: None,
            doing: Doing::Open,
            lasted: Duration::ZERO,
            threshold: None,
            waiting: Waiting::Anyone(Duration::from_millis(waiting)),
            totals: Totals::Server(None),
        }))
    }

    fn episodes(numbers: std::ops::RangeInclusive<u64>) -> News {
        let episode = |number| Episode {
            number,
            began_ms: 0,
            lasted: Duration::ZERO,
            culprit: Culprit::default(),
            waited: None,
        };
        News::Episodes(numbers.map(episode).collect())
    }

    fn numbers(picture: &Picture) -> Vec<u64> {
        picture.episodes.iter().map(|episode| episode.number).collect()
    }

    #[test]
    fn episodes_are_told_once_and_those_of_another_process_follow() {
        let mut picture = Picture::new(String::new());
        picture.take(sight("a", 0), 0);
        assert_eq!(picture.take(episodes(1..=3), 0), 3);
        assert_eq!(picture.take(episodes(2..=4), 0), 1, "only one of them is new");
        picture.take(sight("b", 0), 0);
        assert!(picture.restarted(0).is_some());
        assert_eq!(picture.take(episodes(1..=2), 0), 2);
        assert_eq!(numbers(&picture), [2, 1, 4, 3, 2, 1]);
        picture.take(episodes(3..=20_000), 0);
        assert_eq!(numbers(&picture).len(), EPISODES_MAX);
    }

    #[test]
    fn a_script_is_told_by_its_share_of_the_time_between_two_looks() {
        let cost = |name: &str, blocked| Cost {
            name: name.to_owned(),
            runs: 1,
            blocked: Duration::from_millis(blocked),
            longest: None,
        };
        let mut picture = Picture::new(String::new());
        let shares =
            |picture: &Picture| picture.scripts.iter().map(|script| script.share).collect::<Vec<_>>();
        picture.take(News::Scripts(vec![cost("a", 900)], 5_000), 0);
        assert_eq!((shares(&picture), picture.scripts_share()), (vec![None], None));
        picture.take(News::Scripts(vec![cost("a", 1_400), cost("new", 250)], 6_000), 0);
        assert_eq!(shares(&picture), [Some(0.5), Some(0.25)]);
        assert_eq!(picture.scripts_share(), Some(0.75));
        picture.take(News::Scripts(vec![cost("a", 10)], 7_000), 0);
        assert_eq!(shares(&picture), [None], "it began anew");
    }

    #[test]
    fn the_chart_has_the_most_of_each_part_and_nothing_where_nothing_was_known() {
        let mut picture = Picture::new(String::new());
        let begin = 1_000 * SECOND;
        for (second, waiting) in [(0, 1), (5, 7), (6, 2)] {
            picture.take(sight("a", waiting), begin + second * SECOND);
            picture.sample(begin + second * SECOND);
        }
        // More than before came between two samples.
        picture.take(sight("a", 9), begin + 35 * SECOND);
        picture.take(sight("a", 3), begin + 36 * SECOND);
        picture.sample(begin + 40 * SECOND);
        picture.take(News::Lost(String::new()), begin + 41 * SECOND);
        picture.sample(begin + 70 * SECOND);
        let chart = picture.chart(12, begin + 119 * SECOND);
        let expected = [Some(7), Some(7), Some(7), Some(7), Some(9)];
        assert_eq!(chart[..5], expected);
        assert_eq!(chart[5..], [None; 7]);
        assert_eq!(picture.chart(0, begin), []);
    }
}
