//! What knows the `redis` crate. It is compiled for each of its versions that a feature asks for: `redis` is the one that
//! the parent module names.

use super::redis;

mod batch;
mod blocking;
mod call;
mod client;
mod lease;
#[cfg(feature = "connection-manager")]
mod manager;
mod patience;
#[cfg(any(feature = "r2d2", feature = "bb8", feature = "deadpool"))]
mod pools;
mod pubsub;
mod reply;
mod survey;
mod transaction;
mod words;

#[cfg(feature = "aio")]
pub mod aio;
#[cfg(feature = "aio")]
mod aio_extras;
#[cfg(feature = "aio")]
mod aio_pubsub;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "sentinel")]
pub mod sentinel;

pub use blocking::Connection;
pub use client::Client;
#[cfg(feature = "connection-manager")]
pub use manager::Manager;
pub use patience::Patience;
pub use pubsub::PubSub;
