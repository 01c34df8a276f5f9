//! The signals that end the demo in an orderly way.

use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

const DIED_OF_SIGNAL: u8 = 128;
const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals from here on.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The exit code that the next signal asks for.
    pub(super) async fn next(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.interrupt.recv() => code(SIGINT),
            _ = self.terminate.recv() => code(SIGTERM),
            _ = self.hang_up.recv() => code(SIGHUP),
        }
    }
}

/// For a Ctrl-C that the terminal hands over as a key.
pub(super) fn ctrl_c() -> ExitCode {
    code(SIGINT)
}

fn code(signal: u8) -> ExitCode {
    ExitCode::from(DIED_OF_SIGNAL + signal)
}
