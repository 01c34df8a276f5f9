//! A table of rows that can be scrolled, with as many columns as there is room for.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Stylize as _;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Row, Table};

/// The title and the names of the columns.
const HEAD: u16 = 2;

/// One column, and from which width of the terminal on it is there.
pub(super) struct Column<T> {
    pub(super) name: &'static str,
    pub(super) width: Constraint,
    pub(super) from: u16,
    pub(super) text: fn(&T, now_ms: u64) -> String,
}

/// What stands above the columns.
pub(super) struct Title<'a> {
    /// What the rows are, such as `episodes`.
    pub(super) rows: &'a str,
    /// If there are none.
    pub(super) none: &'a str,
    /// Their order, if that is to be said.
    pub(super) order: &'a str,
    /// At the right edge.
    pub(super) edge: String,
}

/// Draws as many as there is room for, `offset` of the first passed over; how many is that?
pub(super) fn draw<'a, T: 'a>(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column<T>],
    rows: impl ExactSizeIterator<Item = &'a T>,
    (offset, now_ms): (usize, u64),
    title: &Title<'_>,
) -> usize {
    let room = usize::from(area.height.saturating_sub(HEAD));
    let all = rows.len();
    let first = offset.min(all.saturating_sub(1));
    let Title { rows: what, none, order, edge } = title;
    let text = match all {
        0 => format!(" {none} "),
        _ if room == 0 => format!(" {all} {what} "),
        _ => format!(" {what} {}–{} of {all}{order} ", first + 1, (first + room).min(all)),
    };
    let columns = || columns.iter().filter(|column| area.width >= column.from);
    let shown = rows.skip(first).take(room);
    let shown = shown.map(|row| Row::new(columns().map(|column| (column.text)(row, now_ms))));
    let names = Row::new(columns().map(|column| column.name)).underlined();
    let table = Table::new(shown, columns().map(|column| column.width)).header(names);
    let edge = Line::from(format!(" {edge} ").dim()).right_aligned();
    let block = Block::new().borders(Borders::TOP).title(text.bold()).title(edge);
    frame.render_widget(table.block(block), area);
    room
}
