//! The clients: several kinds, in several languages, through proxies and with the crate.

mod asynchronous;
mod crates;
mod python;
mod quitters;
mod raw;
mod subscribers;

use std::{path::Path, sync::Arc, thread::JoinHandle};

use crate::stage::Stage;
pub(crate) use crates::HASTE;

/// Starts all clients of a round.
pub(crate) fn start(stage: &Arc<Stage>, python: Option<&Path>) -> Vec<JoinHandle<()>> {
    let mut all = Vec::new();
    // Each proxy has at least one client of each kind.
    for (n, proxy) in (0..).zip(stage.patient.iter().cycle().take(4)) {
        all.push(raw::pipelines(stage, proxy, 10 + n));
        all.push(raw::singles(stage, proxy, 20 + n));
    }
    for (n, proxy) in (0..).zip(&stage.patient) {
        all.push(raw::streams(stage, proxy, 130 + n));
        all.push(raw::scripts(stage, proxy, 30 + n));
        all.push(raw::consumers(stage, proxy, 40 + n));
        all.push(subscribers::raw(stage, proxy, 50 + n));
        all.push(crates::plain(stage, proxy, 60 + n));
        all.push(quitters::start(stage, proxy, 70 + n));
        if let Some(python) = python {
            all.push(python::start(stage, python, proxy, 80 + n));
        }
    }
    for n in 0..2 {
        all.push(raw::hasty(stage, 90 + n));
        all.push(crates::unbusy(stage, 100 + n));
    }
    all.push(crates::hasty(stage, 110));
    all.push(crates::scripts(stage, 111));
    all.push(asynchronous::start(stage, 120));
    all
}
