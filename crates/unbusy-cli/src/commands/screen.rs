//! The terminal as a screen.

use std::io::{self, IsTerminal as _};
use std::mem::ManuallyDrop;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The terminal in the state that a screen needs; as it was when this goes, or when the program panics.
pub(super) struct Screen {
    /// Never dropped: it would complain of a terminal that was closed, on that very terminal, and end the process.
    pub(super) terminal: ManuallyDrop<DefaultTerminal>,
    /// Standard input was one, too. Of one that was closed that cannot be told any more.
    reads_terminal: bool,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let reads_terminal = io::stdin().is_terminal();
        Ok(Self { terminal: ManuallyDrop::new(ratatui::try_init()?), reads_terminal })
    }

    /// Waits for so long for something to come from the keyboard.
    pub(super) fn input(&self, within: Duration) -> io::Result<Input> {
        let at_once =
            |within| Ok(if event::poll(within)? { Input::Event(event::read()?) } else { Input::Nothing });
        if !self.reads_terminal {
            return at_once(within);
        }
        // A terminal that was closed has its end to read, over and over, and crossterm never ceases to.
        if wait(Duration::ZERO)?.is_none() {
            return Ok(Input::Gone);
        }
        // What was read along with the last key.
        match at_once(Duration::ZERO)? {
            Input::Nothing => {}
            event => return Ok(event),
        }
        match wait(within)? {
            None => Ok(Input::Gone),
            Some(true) => at_once(Duration::ZERO),
            Some(false) => Ok(Input::Nothing),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // One that was closed needs nothing.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// What came from the keyboard.
pub(super) enum Input {
    Nothing,
    Event(Event),
    /// The terminal was closed, and nothing will ever come.
    Gone,
}

/// Whether there is something to read on the terminal; `None`: it is gone.
fn wait(within: Duration) -> io::Result<Option<bool>> {
    let stdin = io::stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
    let within = Timespec::try_from(within).map_err(io::Error::other)?;
    match poll(&mut ready, Some(&within)) {
        // A signal, which somebody else looks at.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = ready[0].revents();
    let is_gone = ready.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    Ok((!is_gone).then_some(ready.contains(PollFlags::IN)))
}

/// Whether Ctrl-C or q was pressed. The terminal gives both as keys while it is a screen.
pub(super) fn is_end(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.code == KeyCode::Char('q') || control && key.code == KeyCode::Char('c')
}
