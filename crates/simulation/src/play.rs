//! A world from a seed, played and judged.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use unbusy_core::Event;

use crate::scenario::Scenario;
use crate::verdict::{Refused, apparent_holes, judge};
use crate::world::{START, World};

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
    /// Holes that are none of a script's doing.
    pub holes: u64,
    /// Servers that crashed.
    pub crashes: u64,
    /// Clients that left.
    pub left: u64,
    /// What clients were told instead of having their commands executed.
    pub refused: Refused,
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
        self.crashes += other.crashes;
        self.left += other.left;
        self.refused.nulls += other.refused.nulls;
        self.refused.busy += other.refused.busy;
        self.refused.aborts += other.refused.aborts;
        self.refused.twice += other.refused.twice;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executed, rejected, episodes, stalls, holes, crashes, left, .. } = self;
        let Refused { nulls, busy, aborts, twice } = self.refused;
        let hours = self.lasted.as_secs_f64() / 3600.0;
        write!(
            f,
            "{hours:.2} virtual hours, {executed} commands executed, {rejected} rejected, {episodes} episodes, "
        )?;
        write!(
            f,
            "{stalls} stalls, {holes} holes, {crashes} crashes, {left} clients left; told to clients: {busy} BUSY, "
        )?;
        write!(
            f,
            "{nulls} null, {aborts} EXECABORT; {twice} scripts executed twice that spoke like the server"
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

/// No world has things to do for longer.
const LONG: Duration = Duration::from_secs(900);

/// Plays the world of this seed.
pub fn play(seed: u64) -> Story {
    let scenario = Scenario::of(seed);
    unfold(&scenario, scenario.world()).0
}

/// Plays the world of this seed and tells what happens in it, line by line.
pub fn tell(seed: u64) -> (Vec<String>, Story) {
    let scenario = Scenario::of(seed);
    let mut world = scenario.world();
    world.write_down();
    let (story, lines) = unfold(&scenario, world);
    (scenario.to_string().lines().map(str::to_owned).chain(lines).collect(), story)
}

fn unfold(scenario: &Scenario, mut world: World) -> (Story, Vec<String>) {
    // A world that panics can still tell what happened before.
    let ran = panic::catch_unwind(AssertUnwindSafe(|| world.run(LONG)));
    let verdict = match ran {
        Ok(()) => judge(&world, &scenario.plans),
        Err(panic) => Err(message(&*panic)),
    };
    let story = Story { counts: count(&world, &verdict), hash: world.hash(), verdict: verdict.map(|_| ()) };
    (story, world.take_lines())
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("?"))
}

fn count(world: &World, verdict: &Result<Refused, String>) -> Counts {
    let events =
        |wanted: fn(&Event) -> bool| world.events.iter().filter(|(_, event)| wanted(event)).count() as u64;
    let refused = verdict.clone().unwrap_or_default();
    Counts {
        lasted: world.now - START,
        executed: world.server.log.len() as u64,
        rejected: world.server.rejected.len() as u64,
        episodes: events(|event| matches!(event, Event::EpisodeBegan { .. })),
        stalls: events(|event| matches!(event, Event::StallBegan)),
        holes: events(|event| matches!(event, Event::Hole)).saturating_sub(apparent_holes(world)),
        crashes: world.crashes,
        left: world.pairs.iter().filter(|pair| pair.gone.is_some()).count() as u64,
        refused,
    }
}
