//! The properties are those that `crates/unbusy-core/tests/fuzz.rs` tests on any toolchain.

#[path = "../../crates/unbusy-core/tests/properties/mod.rs"]
pub mod properties;
