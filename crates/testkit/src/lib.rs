//! Everything unbusy's tests need around them: real servers ([`Server`]), a raw client ([`Client`]), slow scripts
//! ([`BusyScript`], [`Storm`]), the `unbusy` binary itself ([`Proxy`]), a sick network ([`Relay`]) and peers that do what no
//! real server can be made to do ([`ScriptedServer`]).
//!
//! Blocking code on the standard library, so that no bug of an async runtime can hide one of the proxy's. Whatever
//! goes wrong panics with a message that says what was awaited: that is what a test wants, and nothing waits for
//! ever. No process outlives the test that started it, even a killed one.
//!
//! The server binaries come from `cargo xtask servers`; see [`Flavor`].
//!
//! ```no_run
//! use std::time::Duration;
//! use testkit::{BusyScript, Client, Flavor, Server};
//!
//! let server = Server::start(Flavor::Valkey91);
//! let script = BusyScript::start(server.address(), Duration::from_millis(300));
//! script.wait_until_busy(server.address());
//! assert!(Client::connect(server.address()).cmd(&["PING"]).is_busy());
//! let (reply, _at) = script.join();
//! assert_eq!(reply, b":1\r\n");
//! ```
#![allow(clippy::missing_panics_doc, reason = "every function here panics when the test cannot go on")]

mod brink;
mod busy;
mod client;
mod flavor;
mod frame;
mod leash;
mod proc;
mod proxy;
mod relay;
mod reply;
mod scripted;
mod server;
mod storm;

pub use brink::scripts_on_the_brink;
pub use busy::{BusyScript, busy_lua, wait_until_busy};
pub use client::Client;
pub use flavor::{Flavor, cache_dir};
pub use frame::{FrameScanner, encode};
pub use leash::OwnedChild;
pub use proxy::Proxy;
pub use relay::Relay;
pub use reply::Reply;
pub use scripted::ScriptedServer;
pub use server::{Server, ServerBuilder};
pub use storm::{STORM_THRESHOLD, Storm, storm};
