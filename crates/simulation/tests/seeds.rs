//! Worlds of the first seeds keep every promise. `cargo xtask simulate` plays more of them.

use simulation::{Counts, play, tell};

const SEEDS: u64 = 2_000;
const THREADS: u64 = 4;

/// Every `THREADS`th seed from this one on.
fn play_from(first: u64) -> Counts {
    let mut counts = Counts::default();
    for seed in (first..SEEDS).step_by(THREADS as usize) {
        let story = play(seed);
        if let Err(why) = story.verdict {
            panic!("{why}\n\nAll that happens in this world: cargo xtask simulate --seed {seed}");
        }
        counts.add(&story.counts);
    }
    counts
}

#[test]
fn worlds_keep_every_promise() {
    let parts: Vec<Counts> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || play_from(first))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a promise is broken, see above")).collect()
    });
    let mut all = Counts::default();
    for part in &parts {
        all.add(part);
    }
    // They are worth something only if all this happens in them.
    let Counts { executed, rejected, episodes, stalls, crashes, left, refused, .. } = all;
    let happened = [rejected, episodes, stalls, crashes, left, refused.nulls, refused.busy, refused.aborts];
    assert!(executed > 50 * SEEDS && happened.iter().all(|count| *count > SEEDS / 400), "{all}");
}

#[test]
fn equal_seeds_are_equal_worlds() {
    for seed in 0..50 {
        let (lines, story) = tell(seed);
        assert_eq!(story, play(seed), "seed {seed}");
        assert_eq!(lines, tell(seed).0, "seed {seed}");
        assert!(lines.len() > 3, "seed {seed} tells what happened");
    }
    assert_ne!(play(0).hash, play(1).hash);
}
