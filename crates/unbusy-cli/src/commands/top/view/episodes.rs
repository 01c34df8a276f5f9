//! The table of episodes that are over, the newest first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};

use super::table::{self, Column, Title};
use super::{Look, scripts};
use crate::commands::top::picture::Picture;
use crate::commands::top::sight::{Culprit, Episode};
use crate::commands::top::words::{moment, span};

const COLUMNS: [Column<Episode>; 7] = [
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
    let title =
        Title { rows: "episodes", none: "no episode is over yet", order: "", edge: scripts::glance(picture) };
    let place = (look.offset, picture.their_now(look.now));
    table::draw(frame, area, &COLUMNS, picture.episodes.iter(), place, &title)
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
