//! A child process that behaves as if the user had started it without us: signals, exit code.
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use signal_hook::low_level::siginfo::Cause;

use super::ignored;

// Those at the end would end us at once, and leave our files behind.
const PASSED_ON: [i32; 9] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGABRT];
const OF_TERMINALS: [i32; 4] = [SIGINT, SIGHUP, SIGQUIT, SIGWINCH];

// As shells have it.
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;
const DIED_OF_SIGNAL: u8 = 128;

/// Runs the command to its end and gives its exit code.
pub(super) fn run(mut command: Command) -> anyhow::Result<ExitCode> {
    // Before the child is there, so that no signal, and not its end, is missed.
    let mut signals = SignalsInfo::<WithOrigin>::new(heard())?;
    match command.spawn() {
        Ok(mut child) => Ok(ExitCode::from(code(supervise(&mut child, &mut signals)?))),
        Err(error) => Ok(ExitCode::from(refused(&command, &error))),
    }
}

/// The signals to listen to: our child's end, and what is to be passed on. What was ignored when we began is not
/// touched, so that the child ignores it too (`nohup`, or Ctrl-C in a script's background job).
fn heard() -> Vec<i32> {
    ignored::without_ignored(PASSED_ON).chain([SIGCHLD]).collect()
}

/// Passes signals on until the child ends. In one thread, so that no signal can go to a process that has taken the
/// ended child's number.
fn supervise(child: &mut Child, signals: &mut SignalsInfo<WithOrigin>) -> anyhow::Result<ExitStatus> {
    for origin in &mut signals.forever() {
        if origin.signal == SIGCHLD {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
        } else if !from_terminal(&origin) {
            pass_on(child, origin.signal);
        }
    }
    Ok(child.wait()?)
}

/// Whether the terminal sent it. Then it has reached the child, too: the child is in our process group.
fn from_terminal(origin: &Origin) -> bool {
    matches!(origin.cause, Cause::Kernel) && OF_TERMINALS.contains(&origin.signal)
}

fn pass_on(child: &Child, signal: i32) {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(process), Some(signal)) = (process, Signal::from_named_raw(signal)) {
        // It fails when the child has just ended, which we are about to hear, or has become another user's (sudo),
        // whom we may not signal any more than the sender may.
        let _ = kill_process(process, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, signal) => DIED_OF_SIGNAL + signal.unwrap_or_default() as u8,
    }
}

fn refused(command: &Command, error: &std::io::Error) -> u8 {
    let program = command.get_program();
    let (code, reason) = match error.kind() {
        ErrorKind::NotFound => (NOT_FOUND, "not found".to_owned()),
        _ => (CANNOT_EXECUTE, error.to_string()),
    };
    let _ = writeln!(std::io::stderr(), "error: cannot run {}: {reason}", program.display());
    code
}
