//! Ctrl-C: the chore ends in good order, so that no server or proxy stays behind.

use std::{
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::shell;

/// Whether somebody wants us to stop.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot watch for signals")?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Runs a command to its end, which comes early on an interrupt.
    pub(crate) fn output(&self, command: &mut Command) -> Result<Output> {
        let line = shell::line(command);
        let what = || format!("cannot run `{line}`");
        self.check()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(what)?;
        let ended = self.wait(&mut child);
        if ended.is_err() {
            // It may have ended in this moment.
            let _ = child.kill();
        }
        let output = child.wait_with_output().with_context(what)?;
        ended.and(Ok(output))
    }

    fn wait(&self, child: &mut Child) -> Result<()> {
        while child.try_wait()?.is_none() {
            self.check()?;
            thread::sleep(Duration::from_millis(20));
        }
        self.check()
    }
}
