#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| unbusy_fuzz::properties::order::check(bytes));
