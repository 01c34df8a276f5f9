//! Scripts that run just longer or just shorter than the threshold: the hardest case for whoever wants to keep an order, since
//! BUSY begins and ends under what is in flight.

use std::{ops::Range, thread, time::Duration};

use crate::{Client, busy_lua};

/// How long the scripts run, in thousandths of the unit, the threshold: in turn one that makes the server BUSY, if barely, and one
/// that does not.
const SCRIPTS: [Range<u64>; 2] = [1100..1700, 500..1000];
/// For how many microseconds the server is free between two scripts.
const PAUSE: Range<u64> = 1_000..30_000;
/// How many empty loops, made of nothing but instructions of the script's, go with each look at the clock. A server
/// looks at its threshold each 100,000 instructions: without them BUSY would begin some 10 ms late.
const LOOPS: &str = "do for _ = 1, 1000 do end end";

/// Runs such scripts on this connection, one after the other, as long as `goes_on` says so. The seed determines for how long
/// each script runs and each pause lasts.
///
/// # Panics
/// When the server does not execute one.
pub fn scripts_on_the_brink(client: &mut Client, unit: Duration, seed: u64, goes_on: impl Fn() -> bool) {
    let mut random = Random(seed);
    let script = busy_lua().replace("do end", LOOPS);
    for range in SCRIPTS.into_iter().cycle().take_while(|_| goes_on()) {
        // The pause is part of the stimulus: in it the others get on.
        thread::sleep(Duration::from_micros(random.within(PAUSE)));
        let millis = unit.as_millis() as f64 * random.within(range) as f64 / 1000.0;
        assert_eq!(client.cmd(&["EVAL", &script, "0", &millis.to_string()]).integer(), 1);
    }
}

/// The same numbers in every run, so that a failure can be tried again.
struct Random(u64);

impl Random {
    fn within(&mut self, range: Range<u64>) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        range.start + (x ^ (x >> 31)) % (range.end - range.start)
    }
}
