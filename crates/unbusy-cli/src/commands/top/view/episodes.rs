//! The table of episodes that are over, the newest first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Stylize as _;
use ratatui::widgets::{Block, Borders, Row, Table};

use super::{Look, scripts};
use crate::commands::top::picture::Picture;
use crate::commands::top::sight::{Culprit, Episode};
use crate::commands::top::words::{moment, span};

/// The title and the names of the columns.
const HEAD: u16 = 2;

/// One column, and from which width of the terminal on it is there.
struct Column {
    name: &'static str,
    width: Constraint,
    from: u16,
    text: fn(&Episode, now_ms: u64) -> String,
}

const COLUMNS: [Column; 7] = [
    Column {
        name: "began",
        width: Constraint::Length(11),
        from: 0,
        text: |episode, now| moment(episode.began_ms, now),
    },
    Column { name: "lasted", width: Constraint::Length(7), from: 0, text: |episode, _| span(episode.lasted) },
    Column {
        name: "cause",
        width: Constraint::Length(8),
        from: 50,
        text: |episode, _| episode.culprit.cause.clone(),
    },
    Column { name: "script", width: Constraint::Fill(1), from: 0, text: |episode, _| script(episode) },
    Column {
        name: "client",
        width: Constraint::Length(21),
        from: 80,
        text: |episode, _| client(&episode.culprit),
    },
    Column {
        name: "waited",
        width: Constraint::Length(6),
        from: 60,
        text: |episode, _| number(episode.waited.map(|(waited, _)| waited)),
    },
    Column {
        name: "given up",
        width: Constraint::Length(8),
        from: 70,
        text: |episode, _| number(episode.waited.map(|(_, given_up)| given_up)),
    },
];

/// Draws as many as there is room for; how many is that?
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, picture: &Picture, look: Look) -> usize {
    let room = usize::from(area.height.saturating_sub(HEAD));
    let all = picture.episodes.len();
    let first = look.offset.min(all.saturating_sub(1));
    let shown = picture.episodes.iter().skip(first).take(room);
    let title = match all {
        0 => " no episode is over yet ".to_owned(),
        _ if room == 0 => format!(" {all} episodes "),
        _ => format!(" episodes {}–{} of {all} ", first + 1, (first + room).min(all)),
    };
    let columns = || COLUMNS.iter().filter(|column| area.width >= column.from);
    let now_ms = picture.their_now(look.now);
    let rows = shown.map(|episode| Row::new(columns().map(|column| (column.text)(episode, now_ms))));
    let names = Row::new(columns().map(|column| column.name)).underlined();
    let table = Table::new(rows, columns().map(|column| column.width)).header(names);
    let block = Block::new().borders(Borders::TOP).title(title.bold());
    frame.render_widget(table.block(block.title(scripts::glance(picture))), area);
    room
}

fn script(episode: &Episode) -> String {
    let Culprit { script, cause, .. } = &episode.culprit;
    match (script, cause.as_str()) {
        (Some(script), _) => script.clone(),
        // A proxy knows all that came through it, a server tells of no script.
        (None, "script" | "function") if episode.waited.is_some() => "elsewhere".to_owned(),
        (None, "script" | "function") => "not told".to_owned(),
        (None, cause) => cause.to_owned(),
    }
}

fn client(culprit: &Culprit) -> String {
    culprit.client.clone().unwrap_or_else(|| "–".to_owned())
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| number.to_string())
}
