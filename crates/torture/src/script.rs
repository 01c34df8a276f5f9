//! Slow scripts, and a function that does the same.

use testkit::{Reply, busy_lua, encode};

use crate::wire::Wire;

/// The function's name.
pub(crate) const FUNCTION: &str = "torture_slow";

/// Spins for `ARGV[1]` milliseconds and then pushes `ARGV[2]` to `KEYS[1]`. Who is killed has written nothing.
pub(crate) fn lua() -> String {
    busy_lua().replace("redis.call('INCR', KEYS[1])", "redis.call('RPUSH', KEYS[1], ARGV[2])")
}

pub(crate) fn load_function(wire: &mut Wire) -> std::io::Result<Reply> {
    // In functions there is no redis.replicate_commands: effects are always replicated.
    let body = lua().replace("if redis.replicate_commands then redis.replicate_commands() end ", "");
    let body = body.replace("rawget(_G, 'os')", "nil");
    let library =
        format!("#!lua name=torture\nredis.register_function('{FUNCTION}', function(KEYS, ARGV) {body} end)");
    wire.cmd(&["FUNCTION", "LOAD", &library])
}

/// The script as one command; `list` and `token` are where it leaves a trace.
pub(crate) fn command(function: bool, list: &str, millis: u64, token: &str) -> Vec<u8> {
    let millis = millis.to_string();
    if function {
        encode(&["FCALL", FUNCTION, "1", list, &millis, token])
    } else {
        encode(&["EVAL", &lua(), "1", list, &millis, token])
    }
}

/// One that leaves no trace.
pub(crate) fn traceless(function: bool, millis: u64) -> Vec<u8> {
    let millis = millis.to_string();
    if function {
        encode(&["FCALL", FUNCTION, "0", &millis])
    } else {
        encode(&["EVAL", &lua(), "0", &millis])
    }
}
