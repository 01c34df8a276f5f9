//! Draws what is known at one moment. It depends on nothing else: no clock, no terminal.

mod episodes;
mod headline;
mod help;
mod scripts;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};

use super::picture::{Now, Picture};
use super::words::moment;

/// What is in the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Rows {
    #[default]
    Episodes,
    Scripts,
}

/// How it is to be looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) now: Now,
    /// So many of the first rows are passed over.
    pub(super) offset: usize,
    pub(super) help: bool,
    pub(super) rows: Rows,
    pub(super) paused: bool,
    pub(super) colours: bool,
}

impl Look {
    /// The colour, if there are to be any.
    const fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Draws all; how many rows of the table can be seen at once?
pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture, look: Look) -> usize {
    let area = frame.area();
    let headline = headline::lines(picture, look);
    let most = if area.height < 14 { 4 } else { 6 };
    let lines = headline.iter().map(|line| rows(&line.to_string(), area.width)).sum::<u16>().min(most);
    let chart = match area.height {
        ..16 => 1,
        16..30 => 3,
        30.. => 5,
    };
    let lengths = [1, lines, 1, chart, 1].map(Constraint::Length);
    let areas = Layout::vertical(lengths.into_iter().chain([Constraint::Fill(1)])).split(area);
    title(frame, areas[0], picture, look);
    frame.render_widget(Paragraph::new(headline).wrap(Wrap { trim: true }), areas[1]);
    waiting::draw(frame, [areas[2], areas[3]], picture, look);
    frame.render_widget(waiting::totals(picture, look, area.width), areas[4]);
    let table = match look.rows {
        Rows::Episodes => episodes::draw,
        Rows::Scripts => scripts::draw,
    };
    let shown = table(frame, areas[5], picture, look);
    if look.help {
        help::draw(frame, area);
    }
    shown
}

/// How many rows a line takes when it is wrapped between words.
fn rows(line: &str, width: u16) -> u16 {
    let (width, mut rows, mut column) = (usize::from(width).max(1), 1, 0);
    for word in line.split_whitespace().map(|word| word.chars().count()) {
        if column > 0 && column + 1 + word > width {
            (rows, column) = (rows + 1, 0);
        }
        column += usize::from(column > 0) + word;
        rows += column.saturating_sub(1) / width;
        column = column.saturating_sub(1) % width + 1;
    }
    rows as u16
}

fn title(frame: &mut Frame<'_>, area: Rect, picture: &Picture, look: Look) {
    let right = if look.paused {
        let at = moment(look.now, look.now);
        Line::from(format!(" PAUSED at {at}, p goes on ").reversed())
    } else {
        Line::from("? help  q quit".dim())
    };
    let areas = Layout::horizontal([Constraint::Fill(1), Constraint::Length(right.width() as u16)]);
    let [left, edge] = areas.areas(area);
    let mut words = vec!["unbusy top ".bold(), picture.subject.as_str().into()];
    if let Some(behind) = picture.sight.as_ref().and_then(|(sight, _)| sight.behind.as_deref()) {
        words.push(format!(" of {behind}").into());
    }
    frame.render_widget(Line::from(words), left);
    frame.render_widget(right, edge);
}
