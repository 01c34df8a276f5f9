//! The table of what scripts cost, the dearest first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Stylize as _;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Row, Table};

use super::Look;
use crate::commands::top::picture::{Picture, Script};
use crate::commands::top::words::span;

/// The title and the names of the columns.
const HEAD: u16 = 2;

/// One column, and from which width of the terminal on it is there.
struct Column {
    name: &'static str,
    width: Constraint,
    from: u16,
    text: fn(&Script) -> String,
}

const COLUMNS: [Column; 5] = [
    Column { name: "now", width: Constraint::Length(4), from: 0, text: |script| percent(script.share) },
    Column {
        name: "blocked",
        width: Constraint::Length(8),
        from: 0,
        text: |script| span(script.cost.blocked),
    },
    Column { name: "script", width: Constraint::Fill(1), from: 0, text: |script| script.cost.name.clone() },
    Column {
        name: "runs",
        width: Constraint::Length(10),
        from: 50,
        text: |script| script.cost.runs.to_string(),
    },
    Column {
        name: "longest",
        width: Constraint::Length(8),
        from: 70,
        text: |script| script.cost.longest.map_or_else(|| "–".to_owned(), span),
    },
];

/// Draws as many as there is room for; how many is that?
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, picture: &Picture, look: Look) -> usize {
    let room = usize::from(area.height.saturating_sub(HEAD));
    let all = picture.scripts.len();
    let first = look.offset.min(all.saturating_sub(1));
    let shown = picture.scripts.iter().skip(first).take(room);
    let title = match all {
        0 => " no script has run yet ".to_owned(),
        _ if room == 0 => format!(" {all} scripts "),
        _ => format!(" scripts {}–{} of {all}, the dearest first ", first + 1, (first + room).min(all)),
    };
    let columns = || COLUMNS.iter().filter(|column| area.width >= column.from);
    let rows = shown.map(|script| Row::new(columns().map(|column| (column.text)(script))));
    let names = Row::new(columns().map(|column| column.name)).underlined();
    let table = Table::new(rows, columns().map(|column| column.width)).header(names);
    let block = Block::new().borders(Borders::TOP).title(title.bold());
    frame.render_widget(table.block(block.title(Line::from(" s episodes ".dim()).right_aligned())), area);
    room
}

/// How much of the time goes to scripts, for who looks at something else.
pub(super) fn glance(picture: &Picture) -> Line<'static> {
    let share = picture.scripts_share();
    let text = share.map_or_else(String::new, |share| format!(": {} of the time", percent(Some(share))));
    Line::from(format!(" s scripts{text} ").dim()).right_aligned()
}

/// A share of the time.
fn percent(share: Option<f64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(share) if share > 0.0 && share < 0.01 => "<1%".to_owned(),
        Some(share) => format!("{:.0}%", share.min(1.0) * 100.0),
    }
}
