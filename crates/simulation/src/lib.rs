//! A world of its own for the engine: virtual time, a model of the server, a network that cuts and delays, and
//! connections that drive sessions and the gate as the proxy does. Everything follows from a seed.
#![allow(clippy::missing_panics_doc, reason = "a world that cannot go on is a failed test")]

mod network;
pub mod oracle;
mod pair;
mod play;
pub mod program;
mod random;
mod scenario;
pub mod server;
mod shell;
mod text;
mod trace;
mod verdict;
pub mod world;

use std::time::Duration;

pub use network::Cuts;
pub use pair::{Leave, Pair, Reader};
pub use play::{Counts, Story, play, tell};
pub use random::Rng;
pub use scenario::Scenario;
pub use text::{BUSY, cmd, encode, parse, pipeline, words};
pub use verdict::Refused;

/// A millisecond.
pub const MS: Duration = Duration::from_millis(1);
