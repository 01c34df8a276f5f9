//! The properties that `cargo xtask fuzz` tests for hours, for some seconds and on any toolchain: with the inputs that
//! were found to reach different code, and with random changes of them.

#[allow(unreachable_pub, reason = "public for the package in fuzz/")]
mod properties;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Changed inputs per property.
const ROUNDS: u64 = 5000;
/// Changes may make an input longer, but not without end.
const INPUT_BYTES_MAX: usize = 1024;

#[expect(clippy::disallowed_methods, reason = "the corpus is in files")]
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<Vec<u8>> =
        files.map(|file| fs::read(file?.path())).collect::<io::Result<_>>().expect("the corpus is readable");
    inputs.sort();
    inputs
}

fn assert_holds(target: &str, property: properties::Property, input: &[u8]) {
    let held = catch_unwind(|| property(input)).is_ok();
    assert!(held, "{target} does not hold for b\"{}\"", input.escape_ascii());
}

/// `SplitMix64`: small, and the same everywhere.
struct Rng(u64);

impl Rng {
    const fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % end
    }

    /// Flips, removes, repeats, or takes a part of another input.
    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() - at + 1);
        match self.below(5) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            _ => {
                let from = self.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

fn try_all(target: &str) {
    let (_, property) = properties::ALL.into_iter().find(|(name, _)| *name == target).expect("a property");
    let corpus = corpus(target);
    for input in &corpus {
        assert_holds(target, property, input);
    }
    let mut rng = Rng(1);
    for _ in 0..ROUNDS {
        let mut input = corpus[rng.below(corpus.len())].clone();
        for _ in 0..=rng.below(4) {
            let other = &corpus[rng.below(corpus.len())];
            rng.change(&mut input, other);
        }
        assert_holds(target, property, &input);
    }
}

#[test]
fn replies_are_found_as_others_find_them() {
    try_all("replies");
}

#[test]
fn commands_are_found_as_others_find_them() {
    try_all("requests");
}

#[test]
fn no_bytes_upset_a_session() {
    try_all("session");
}

#[test]
fn commands_are_executed_once_and_in_order() {
    try_all("order");
}
