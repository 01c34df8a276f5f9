//! What a key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind};

use crate::commands::screen::is_end;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    End,
    Pause,
    Help,
    /// Scripts instead of episodes, or the other way round.
    Scripts,
    /// Down the table if positive.
    Scroll(isize),
    Nothing,
}

/// `page`: how many rows can be seen at once.
pub(super) fn act(key: KeyEvent, page: usize) -> Act {
    if key.kind == KeyEventKind::Release {
        return Act::Nothing;
    }
    let page = page.max(1).cast_signed();
    match key.code {
        _ if is_end(key) => Act::End,
        KeyCode::Esc => Act::End,
        KeyCode::Char('p') => Act::Pause,
        KeyCode::Char('s') => Act::Scripts,
        KeyCode::Char('?' | 'h') => Act::Help,
        KeyCode::Down => Act::Scroll(1),
        KeyCode::Up => Act::Scroll(-1),
        KeyCode::PageDown => Act::Scroll(page),
        KeyCode::PageUp => Act::Scroll(-page),
        KeyCode::End => Act::Scroll(isize::MAX),
        KeyCode::Home => Act::Scroll(isize::MIN),
        _ => Act::Nothing,
    }
}
