//! The `redis` crate without BUSY: commands wait while the server runs a script, and are executed once and in order.
//!
//! While a Lua script or function runs for longer than a few seconds, Redis and Valkey answer every other client
//! `-BUSY Redis is busy running a script …`. With this crate a command that meets that answer waits until the server
//! accepts it, for at most [`Policy::max_wait`]. One line changes:
//!
//! ```no_run
//! use redis::Commands;
//!
//! # fn main() -> redis::RedisResult<()> {
//! // let client = redis::Client::open("redis://127.0.0.1/")?;
//! let client = unbusy::Client::open("redis://127.0.0.1/")?;
//! let mut connection = client.get_connection()?;
//! let visits: u64 = connection.incr("visits", 1)?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything else goes on unchanged, since [`Connection`] and [`aio::Connection`] are connections of the `redis` crate to
//! all who use them: `Commands`, `AsyncCommands`, `cmd`, `pipe`, `pipe().atomic()`, `Script`, `transaction`, iterators.
//!
//! # Why a client and not an extension of connections
//! A connection does not tell which server it leads to, and all connections to a server must wait together: a thousand
//! callers that each ask a busy server whether it is free make it slower. The client knows the address, so one line is
//! enough. Besides, only the client can set up connections while the server is busy, and with a longer response time-out
//! than the half second after which the `redis` crate gives up on commands that a silent server executes later.
//! A connection that comes from elsewhere is wrapped with [`Client::wrap`] or, with feature `aio`, `Client::wrap_async`.
//!
//! # What waits, and how
//! * **A command** that the server rejects is sent again until it is accepted. One caller asks for all who wait, and they
//!   go on in the order in which they came. If the slow script was sent by this process, its reply wakes them at once.
//! * **A pipeline** is executed in order and once: it goes in pieces of which the server rejects all or none behind a
//!   certain point, and what was rejected is sent again from there. If a command was executed behind a rejected one all the
//!   same (see [`Event::Hole`]), nothing is sent again and each command has the reply it got, so the error, or
//!   `ignore_errors()`, tells which were executed.
//! * **An atomic pipeline** that the server discarded is sent again as a whole; under `WATCH`, as in
//!   [`redis::transaction`], it is answered as if a watched key had changed, so the closure runs again.
//! * **The silence** before the first BUSY is waited for, too, within the budget, and nothing is ever sent again because of
//!   a time-out.
//! * **A future that is dropped** while it waits leaves nothing behind that is executed later.
//!
//! `SCRIPT KILL`, `FUNCTION KILL` and `SHUTDOWN` never wait. An error of a script's own that begins with `BUSY` passes
//! unchanged. When the time is over, the caller gets the server's own error.
//!
//! Not covered:
//! * A transaction whose `MULTI` and `EXEC` are sent as single commands. If the server is busy at any moment of it, `EXEC` gets
//!   the server's `EXECABORT`, and nothing of it was executed. (In a pipeline, and with `pipe().atomic()`, transactions are
//!   covered.)
//! * Pipelines on blocking cluster connections, since the `redis` crate lets only its own connections have them.
//! * `MONITOR`: the `redis` crate does not tell that it was rejected.
//! * A call on an asynchronous cluster connection whose future is dropped may still be executed, as with the `redis` crate
//!   alone: it hands its commands to a task of its own.
//!
//! # Features
//! | feature | for |
//! |---|---|
//! | `redis-1` (default) | version 1 of the `redis` crate, at the root of this crate |
//! | `redis-2` | version 2 of it, a release candidate yet, as `unbusy::redis_2` |
//! | `aio` (default) | asynchronous connections on tokio |
//! | `connection-manager` | `redis::aio::ConnectionManager`, which here recovers from a reconnecting that was rejected |
//! | `cache-aio` | a cache on the client's side, whose replies tell nothing of the server: needed wherever one is used |
//! | `cluster`, `cluster-async` | clusters, each node with a gate of its own |
//! | `sentinel` | finding a master that is busy |
//! | `r2d2`, `bb8`, `deadpool` | managers for pools that keep their connections while the server is busy |
//!
//! A feature adds items and changes nothing else. Both versions of the `redis` crate may be used at once; their connections
//! wait together.

#![allow(clippy::duplicate_mod, reason = "`shell` is compiled once for each version of the `redis` crate")]

#[cfg(feature = "aio")]
mod alarm;
mod door;
mod gate;
mod notices;
mod policy;
mod running;
mod sync;
mod visit;

#[cfg(not(any(feature = "redis-1", feature = "redis-2")))]
compile_error!(
    "unbusy needs feature redis-1 (on by default) or redis-2: which version of the redis crate it is for"
);

#[cfg(feature = "redis-1")]
mod redis_1;
#[cfg(feature = "redis-2")]
pub mod redis_2;

pub use policy::Policy;
#[cfg(feature = "redis-1")]
pub use redis_1::*;
pub use unbusy_core::{Cause, EpisodeReport, Event};
