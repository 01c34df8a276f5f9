#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unbusy_fuzz::properties::session::check(bytes));
