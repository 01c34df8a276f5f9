//! The signals that end the demo in an orderly way.

use std::future::poll_fn;
use std::io;
use std::process::ExitCode;
use std::task::Poll;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::ignored;

const DIED_OF_SIGNAL: u8 = 128;

pub(super) struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Takes the signals from here on.
    pub(super) fn new() -> io::Result<Self> {
        let wanted = [SIGINT, SIGTERM, SIGQUIT].into_iter().chain(ignored::without_ignored([SIGHUP]));
        let taken = wanted.map(|number| Ok((number, signal(SignalKind::from_raw(number))?)));
        taken.collect::<io::Result<_>>().map(Self)
    }

    /// The exit code that the next signal asks for.
    pub(super) async fn next(&mut self) -> ExitCode {
        poll_fn(|cx| {
            let come = self
                .0
                .iter_mut()
                .find_map(|(number, signal)| signal.poll_recv(cx).is_ready().then_some(*number));
            come.map_or(Poll::Pending, |number| Poll::Ready(code(number)))
        })
        .await
    }
}

/// For a Ctrl-C that the terminal hands over as a key.
pub(super) fn ctrl_c() -> ExitCode {
    code(SIGINT)
}

fn code(signal: i32) -> ExitCode {
    ExitCode::from(DIED_OF_SIGNAL + signal as u8)
}
