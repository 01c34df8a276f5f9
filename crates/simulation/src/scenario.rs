//! What kind of world follows from a seed.

use std::fmt;
use std::time::Duration;

use unbusy_core::Policy;

use crate::network::Cuts;
use crate::pair::{Leave, Reader};
use crate::program::Role;
use crate::server::{Flavor, Settings};
use crate::verdict::AMPLE;
use crate::world::{Fate, Pace, Plan, World};
use crate::{MS, Rng, encode, words};

const US: Duration = Duration::from_micros(1);

/// All that is done to the engine in one world.
#[derive(Debug, Clone)]
pub struct Scenario {
    seed: u64,
    settings: Settings,
    policy: Policy,
    delay: (Duration, Duration),
    cuts: Cuts,
    loses_replies: bool,
    /// Many of the clients write all the time.
    streams: bool,
    proxies: usize,
    roles: Vec<Role>,
    pub(crate) plans: Vec<Plan>,
    /// What is sent beside the proxies, each on a connection of its own.
    beside: Vec<Vec<(Duration, Vec<String>)>>,
    fates: Vec<(Duration, Fate)>,
    pauses: bool,
}

impl Scenario {
    /// That of this seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let threshold = rng.pick(&[20 * MS, 100 * MS, 100 * MS, 100 * MS, 500 * MS, 5_000 * MS]);
        let flavor =
            rng.pick(&[Flavor::Redis7, Flavor::Redis7, Flavor::Valkey9, Flavor::Valkey9, Flavor::Strict]);
        let settings = Settings {
            threshold: (!rng.one_in(12)).then_some(threshold),
            flavor,
            hook_every: rng.pick(&[MS, 2 * MS, 5 * MS]),
            ..Settings::default()
        };
        let budget = if rng.one_in(4) { threshold * (1 + rng.below(40) as u32) / 10 } else { 2 * AMPLE };
        let policy = Policy { max_wait: budget, one_read: rng.one_in(10), ..Policy::default() };
        let mut scenario = Self {
            seed,
            settings,
            policy,
            delay: line(&mut rng, threshold),
            cuts: if rng.one_in(10) { Cuts::Bytes } else { Cuts::Some },
            loses_replies: rng.one_in(2),
            streams: rng.one_in(4),
            proxies: 1 + usize::from(rng.one_in(5)),
            roles: Vec::new(),
            plans: Vec::new(),
            beside: Vec::new(),
            fates: Vec::new(),
            pauses: rng.one_in(6),
        };
        let long = threshold * 12;
        for _ in 0..=rng.index(8) {
            scenario.add_client(&mut rng, threshold, long);
        }
        scenario.add_trouble(&mut rng, threshold, long);
        scenario
    }

    fn add_client(&mut self, rng: &mut Rng, unit: Duration, long: Duration) {
        let mut role = if self.streams && rng.one_in(2) { Role::Streams } else { rng.pick(&Role::ALL) };
        if self.cuts == Cuts::Bytes && matches!(role, Role::Large | Role::Streams) {
            role = Role::Plain;
        }
        let most = match role {
            Role::Kills => 2,
            Role::Large => 8,
            Role::Scripts => 12,
            Role::Streams => 150,
            _ => 40,
        };
        let length = 1 + rng.index(most);
        let mutes = self.policy.max_wait >= AMPLE;
        let unit_ms = unit.as_millis() as u64;
        let commands = role.program(rng, self.plans.len(), length, unit_ms, mutes);
        let loops = role.is_countable() && rng.one_in(3);
        let pace = if role == Role::Streams {
            let groups = commands.len().div_ceil(3) as u32;
            Pace::Timed(
                (0..groups)
                    .map(|group| (unit * group / 14 + rng.span((Duration::ZERO, unit / 14)), 3))
                    .collect(),
            )
        } else if loops {
            Pace::Loop(1 + rng.index(8), rng.span((Duration::ZERO, unit / 4)))
        } else {
            Pace::Timed(groups(rng, commands.len(), long))
        };
        let leaves = rng.one_in(4).then(|| {
            let how = rng.pick(&[Leave::HalfClose, Leave::Close, Leave::Reset]);
            (rng.span((Duration::ZERO, long)), how)
        });
        let reader = rng.one_in(6).then(|| {
            let (room, takes) = rng.pick(&[(10, 10), (300, 100), (300, 10), (5_000, 100), (5_000, 5_000)]);
            // Large replies have to end some time.
            let every = rng.span((US, unit / 4)) * takes as u32 / 5_000;
            Reader { room, takes, every: every.max(US) }
        });
        let starts = if rng.one_in(3) { rng.span((Duration::ZERO, long)) } else { Duration::ZERO };
        let shell = rng.index(self.proxies);
        self.roles.push(role);
        self.plans.push(Plan {
            shell,
            starts,
            commands,
            pace,
            leaves,
            reader,
            countable: role.is_countable(),
        });
    }

    fn add_trouble(&mut self, rng: &mut Rng, unit: Duration, long: Duration) {
        let unit_ms = unit.as_millis() as u64;
        let mut at = rng.span((Duration::ZERO, unit));
        let mut scripts = Vec::new();
        for number in 0..rng.below(6) {
            // Those that end just after BUSY began are the hardest: some replies are rejections still on their way.
            let short = rng.one_in(3);
            let length = if short { unit_ms + rng.below(6) } else { unit_ms * (3 + rng.below(28)) / 10 };
            scripts.push((at, words(&format!("EVAL run-{length} 0 beside{number}"))));
            // The next one waits in the socket while this one runs, or comes some time after.
            let wait = MS * length as u32 + rng.span((Duration::ZERO, unit * 3 / 2));
            at += if rng.one_in(3) { Duration::ZERO } else { wait };
        }
        self.beside.push(scripts);
        let mut others = Vec::new();
        for _ in 0..rng.below(3) {
            let text =
                rng.pick(&["RPUSH q0 beside", "INCR s0", "PUBLISH c0 beside", "SET s1 7", "SCRIPT KILL"]);
            others.push((rng.span((Duration::ZERO, long)), words(text)));
        }
        if self.pauses {
            let kind = rng.pick(&["WRITE", "ALL"]);
            let pause = format!("CLIENT PAUSE {} {kind}", 1 + rng.below(unit_ms * 3));
            others.push((rng.span((Duration::ZERO, long)), words(&pause)));
        }
        self.beside.push(others);
        if rng.one_in(6) {
            for _ in 0..=rng.below(2) {
                self.fates.push((rng.span((Duration::ZERO, long)), Fate::Crash(rng.span((MS, unit * 3)))));
            }
        }
        if rng.one_in(6) {
            let client = rng.index(self.plans.len());
            self.fates.push((rng.span((Duration::ZERO, long)), Fate::Cut(client)));
        }
    }

    /// The world, before anything has happened.
    pub fn world(&self) -> World {
        let mut world = World::new(self.seed, self.settings.clone(), self.policy, self.delay);
        world.cut(self.cuts);
        world.clog(self.settings.threshold.unwrap_or(MS));
        if self.loses_replies {
            world.lose_replies();
        }
        for _ in 1..self.proxies {
            world.add_proxy();
        }
        for plan in &self.plans {
            world.join(plan);
        }
        for sends in &self.beside {
            world.direct(sends.iter().map(|(at, words)| (*at, encode(words))));
        }
        for (at, fate) in &self.fates {
            world.strike(*at, *fate);
        }
        world.pauses = self.pauses;
        world
    }
}

/// How long bytes take; what is sent under a lease must arrive before BUSY can begin.
fn line(rng: &mut Rng, threshold: Duration) -> (Duration, Duration) {
    let near = [(US, 50 * US), (20 * US, 3 * MS)];
    let far = [(5 * MS, 15 * MS), (40 * MS, 80 * MS)];
    let lines: Vec<_> = near.into_iter().chain(far).filter(|(_, most)| *most <= threshold / 6).collect();
    rng.pick(&lines)
}

/// How many commands are sent when.
fn groups(rng: &mut Rng, mut commands: usize, long: Duration) -> Vec<(Duration, usize)> {
    let mut at = rng.span((Duration::ZERO, long / 4));
    let mut groups = Vec::new();
    while commands > 0 {
        let count = if rng.one_in(3) { commands } else { 1 + rng.index(commands.min(20)) };
        groups.push((at, count));
        commands -= count;
        at += rng.span((Duration::ZERO, long / 8));
    }
    groups
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings: Settings { threshold, hook_every, flavor, .. }, policy, .. } = self;
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "server    {flavor:?}, threshold {threshold:?}, a hook every {hook_every:?}")?;
        writeln!(
            f,
            "proxies   {}, max-wait {:?}, one read: {}",
            self.proxies, policy.max_wait, policy.one_read
        )?;
        let lost = if self.loses_replies { ", loses replies" } else { "" };
        writeln!(f, "network   {:?} to {:?}, cuts {:?}{lost}", self.delay.0, self.delay.1, self.cuts)?;
        for (at, (plan, role)) in self.plans.iter().zip(&self.roles).enumerate() {
            let Plan { shell, starts, commands, pace, leaves, reader, .. } = plan;
            write!(
                f,
                "client {at:<2} {role:?}: {} commands by proxy {shell} from {starts:?} on",
                commands.len()
            )?;
            if let Pace::Loop(depth, think) = pace {
                write!(f, ", {depth} at a time, thinks for {think:?}")?;
            }
            if let Some((at, how)) = leaves {
                write!(f, ", after {at:?} it {}", how.text())?;
            }
            if let Some(Reader { room, takes, every }) = reader {
                write!(f, ", takes {takes} bytes every {every:?} into {room}")?;
            }
            writeln!(f)?;
        }
        for (at, words) in self.beside.iter().flatten() {
            writeln!(f, "beside    {at:?}: {}", words.join(" "))?;
        }
        for (at, fate) in &self.fates {
            writeln!(f, "fate      {at:?}: {fate:?}")?;
        }
        Ok(())
    }
}
