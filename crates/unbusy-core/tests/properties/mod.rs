//! What must be true of the engine whatever bytes it is given. Each property is a function of some bytes that panics if
//! it does not hold; `tests/fuzz.rs` runs them on any toolchain, the package in `fuzz/` under libFuzzer.

mod input;
pub mod order;
pub mod replies;
pub mod requests;
pub mod session;
mod shell;

/// A property.
pub type Property = fn(&[u8]);

/// All of them, by the name of the target and of the folder in `fuzz/corpus`.
pub const ALL: [(&str, Property); 4] = [
    ("replies", replies::check),
    ("requests", requests::check),
    ("session", session::check),
    ("order", order::check),
];
