//! Clients that leave while their commands are certainly held.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use testkit::Reply;

use super::raw;
use crate::{
    history::Outcome,
    script,
    stage::{Stage, any_act},
    wire::{PATIENCE, Wire},
};

/// How long the script runs that they leave in, in milliseconds.
const SCRIPT: u64 = 800;
/// For how long the server must have been busy at least after a client left: the proxy sees that it left, and the answer to
/// what it had sent for it.
const AFTER: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(5);

pub(crate) fn start(stage: &Arc<Stage>, proxy: &str, stream: u64) -> JoinHandle<()> {
    let proxy = proxy.to_owned();
    stage.client("quitter", stream, move |stage, chance| {
        stage.pause(chance.between(1_000, 4_000));
        let mut script = stage.direct()?;
        let mut witness = stage.direct()?;
        let mut wire = Wire::connect(&proxy)?;
        let pen = stage.recorder.line("quitter", true);
        let begin = Instant::now();
        script.send(&script::traceless(false, SCRIPT))?;
        while !is_busy(&mut witness)? {
            if begin.elapsed() > Duration::from_millis(SCRIPT) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        let acts: Vec<_> = (0..chance.between(1, 20)).map(|_| any_act(chance, &pen)).collect();
        let tokens = raw::send(&mut wire, &pen, &acts)?;
        thread::sleep(Duration::from_millis(chance.below(200)));
        if chance.one_in(2) {
            wire.reset();
        } else {
            drop(wire);
        }
        let left = begin.elapsed();
        // Only if the script itself ran all the time and to its end was the server busy all the time. It may have begun
        // later than it was sent, so the end of its run is reckoned from its answer.
        let ran_to_end = script.read(PATIENCE)? == Reply::Integer(1);
        let ended = begin.elapsed();
        let ran_from = ended.saturating_sub(Duration::from_millis(SCRIPT));
        let slack = ended.saturating_sub(left);
        if ran_to_end && ran_from < Duration::from_millis(30) && slack > AFTER {
            for token in tokens {
                pen.tell(token, Outcome::GivenUp);
            }
            stage.count("clients that left while held");
        }
        Ok(())
    })
}

fn is_busy(witness: &mut Wire) -> io::Result<bool> {
    Ok(matches!(witness.cmd(&["PING"])?, Reply::Error(text) if text.starts_with("BUSY ")))
}
