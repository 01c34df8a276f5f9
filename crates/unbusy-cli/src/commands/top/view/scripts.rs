//! The table of what scripts cost, the dearest first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};

use super::Look;
use super::table::{self, Column, Title};
use crate::commands::top::picture::{Picture, Script};
use crate::commands::top::words::span;

const COLUMNS: [Column<Script>; 5] = [
    Column { name: "now", width: Constraint::Length(4), from: 0, text: |script, _| percent(script.share) },
    Column {
        name: "blocked",
        width: Constraint::Length(8),
        from: 0,
        text: |script, _| span(script.cost.blocked),
    },
    Column {
        name: "script",
        width: Constraint::Fill(1),
        from: 0,
        text: |script, _| script.cost.name.clone(),
    },
    Column {
        name: "runs",
        width: Constraint::Length(10),
        from: 50,
        text: |script, _| script.cost.runs.to_string(),
    },
    Column {
        name: "longest",
        width: Constraint::Length(8),
        from: 70,
        text: |script, _| script.cost.longest.map_or_else(|| "–".to_owned(), span),
    },
];

/// Draws as many as there is room for; how many is that?
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, picture: &Picture, look: Look) -> usize {
    let title = Title {
        rows: "scripts",
        none: "no script has run yet",
        order: ", the dearest first",
        edge: "s episodes".to_owned(),
    };
    let place = (look.offset, picture.their_now(look.now));
    table::draw(frame, area, &COLUMNS, picture.scripts.iter(), place, &title)
}

/// How much of the time goes to scripts, for who looks at something else.
pub(super) fn glance(picture: &Picture) -> String {
    let share = picture.scripts_share();
    let text = share.map_or_else(String::new, |share| format!(": {} of the time", percent(Some(share))));
    format!("s scripts{text}")
}

/// A share of the time.
fn percent(share: Option<f64>) -> String {
    match share {
        None => "–".to_owned(),
        Some(share) if share > 0.0 && share < 0.01 => "<1%".to_owned(),
        Some(share) => format!("{:.0}%", share.min(1.0) * 100.0),
    }
}
