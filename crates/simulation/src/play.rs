//! A world from a seed, played and judged.

use std::fmt;
use std::time::Duration;

use unbusy_core::{Event, Policy};

use crate::oracle::like_quiet;
use crate::program::{program, sends};
use crate::server::{Flavor, Settings};
use crate::world::{START, World};
use crate::{MS, Rng, encode};

/// What happened in one world, or in many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// The time that passed in it.
    pub lasted: Duration,
    /// Commands that the server executed.
    pub executed: u64,
    /// Commands that the server rejected.
    pub rejected: u64,
    /// Episodes.
    pub episodes: u64,
    /// Stalls.
    pub stalls: u64,
    /// Holes.
    pub holes: u64,
}

impl Counts {
    /// Together with another world's.
    pub fn add(&mut self, other: &Self) {
        self.lasted += other.lasted;
        self.executed += other.executed;
        self.rejected += other.rejected;
        self.episodes += other.episodes;
        self.stalls += other.stalls;
        self.holes += other.holes;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executed, rejected, episodes, stalls, holes, .. } = self;
        let hours = self.lasted.as_secs_f64() / 3600.0;
        write!(
            f,
            "{hours:.2} virtual hours, {executed} commands executed, {rejected} rejected, {episodes} episodes, {stalls} stalls, {holes} holes"
        )
    }
}

/// How a world went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What happened.
    pub counts: Counts,
    /// Of all that happened: equal for equal worlds.
    pub hash: u64,
    /// Which promise was broken, if one was.
    pub verdict: Result<(), String>,
}

/// Plays the world of this seed.
pub fn play(seed: u64) -> Story {
    let mut rng = Rng(seed);
    let flavor = rng.pick(&[Flavor::Redis7, Flavor::Valkey9]);
    let settings = Settings { flavor, ..Settings::default() };
    let delay = (Duration::from_micros(20), 3 * MS);
    let mut world = World::new(seed, settings, Policy::default(), delay);
    if rng.one_in(2) {
        world.lose_replies();
    }
    let clients = 1 + rng.index(6);
    let length = 1 + rng.index(60);
    let programs: Vec<_> = (0..clients).map(|client| program(&mut rng, client, length)).collect();
    for program in &programs {
        let sends = sends(&mut rng, program);
        world.client(sends);
    }
    let scripts = (0..=rng.below(5)).map(|_| {
        let length = 30 + rng.below(270);
        (MS * rng.below(1_000) as u32, encode(&["EVAL", &format!("run-{length}"), "0", "beside"]))
    });
    let scripts: Vec<_> = scripts.collect();
    world.direct(scripts);
    world.run(Duration::from_secs(300));
    let judged: Result<Vec<_>, String> =
        programs.iter().enumerate().map(|(client, program)| like_quiet(&world, client, program)).collect();
    let events =
        |wanted: fn(&Event) -> bool| world.events.iter().filter(|(_, event)| wanted(event)).count() as u64;
    let counts = Counts {
        lasted: world.now - START,
        executed: world.server.log.len() as u64,
        rejected: world.server.rejected.len() as u64,
        episodes: events(|event| matches!(event, Event::EpisodeBegan { .. })),
        stalls: events(|event| matches!(event, Event::StallBegan)),
        holes: events(|event| matches!(event, Event::Hole)),
    };
    Story { counts, hash: world.hash(), verdict: judged.map(|_| ()) }
}

/// Plays the world of this seed and tells what happens in it, line by line.
pub fn tell(seed: u64) -> (Vec<String>, Story) {
    (Vec::new(), play(seed))
}
