//! For version 1 of the `redis` crate.

extern crate redis;

#[path = "shell/mod.rs"]
mod shell;
pub use shell::*;
