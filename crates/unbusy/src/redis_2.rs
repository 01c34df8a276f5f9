//! For version 2 of the `redis` crate. All here is as at the root of this crate, which is for version 1.

extern crate redis2 as redis;

#[path = "shell/mod.rs"]
mod shell;
pub use shell::*;
