//! The bytes through the proxy equal the bytes direct: for every kind of request, whether the server is quiet or
//! busy, in one piece, command by command and byte by byte.
//!
//! `scenarios` says what is sent, `play` plays it against a server and through the proxy and compares.
#[path = "../e2e/mod.rs"]
mod e2e;

mod bulk;
mod play;
mod replication;
mod scenarios;
mod watch;
