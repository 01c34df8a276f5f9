//! Who waits, now and over the last minutes, and what was counted so far.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::Sparkline;

use super::Look;
use crate::commands::top::picture::{CHART_SPAN, Picture};
use crate::commands::top::sight::{Doing, Rejections, Sight, Totals, Waiting};
use crate::commands::top::words::{counted, span};
use crate::endpoint::Counters;

/// Narrower terminals get fewer words.
const WIDE: u16 = 76;
/// So many commands are named.
const COMMANDS_NAMED: usize = 4;

pub(super) fn draw(frame: &mut Frame<'_>, [words, chart]: [Rect; 2], picture: &Picture, look: Look) {
    let values = picture.chart(usize::from(chart.width), look.now);
    let most = values.iter().flatten().copied().max().unwrap_or_default();
    if let Some((sight, _)) = &picture.sight {
        let now = now(sight, picture, look, words.width);
        let legend = legend(sight, most);
        let has_room = now.width() + legend.width() + 2 <= usize::from(words.width);
        frame.render_widget(now, words);
        if has_room {
            frame.render_widget(legend.right_aligned(), words);
        }
    }
    let bars = Sparkline::default().data(values).max(most.max(1)).absent_value_symbol("·");
    frame.render_widget(bars.style(look.colour(Color::Yellow)), chart);
}

/// What goes on now.
fn now(sight: &Sight, picture: &Picture, look: Look, width: u16) -> Line<'static> {
    let text = match &sight.waiting {
        Waiting::Clients { connections: 0, all, .. } => format!("nobody waits ({})", counted(*all, "client")),
        Waiting::Clients { all, connections, commands, longest } => {
            let (commands, longest) = (counted(*commands, "command"), span(*longest));
            if width < WIDE {
                format!("{connections} wait ({commands}), longest {longest}")
            } else {
                let all = counted(*all, "client");
                format!("{connections} of {all} wait with {commands}, the longest for {longest}")
            }
        }
        Waiting::Anyone(wait) if sight.doing == Doing::Open => format!("a PING takes {}", span(*wait)),
        Waiting::Anyone(wait) => {
            let more = picture.lasted(look.now).saturating_sub(sight.lasted);
            format!("no command was accepted for {}", span(*wait + more))
        }
    };
    Line::from(text.bold())
}

/// What the chart shows, by its highest value.
fn legend(sight: &Sight, most: u64) -> Line<'static> {
    let most = match &sight.waiting {
        Waiting::Clients { .. } => most.to_string(),
        Waiting::Anyone(_) => span(Duration::from_millis(most)),
    };
    let minutes = CHART_SPAN.as_secs() / 60;
    Line::from(format!("most in {minutes} min: {most}").dim())
}

pub(super) fn totals(picture: &Picture, look: Look, width: u16) -> Line<'static> {
    let Some((sight, _)) = &picture.sight else { return Line::default() };
    match &sight.totals {
        Totals::Proxy { started_ms, counters, .. } => {
            let up = picture.their_now(look.now).saturating_sub(*started_ms);
            Line::from(proxy(counters, &span(Duration::from_millis(up)), width))
        }
        Totals::Server(Some(rejections)) => Line::from(server(rejections)),
        Totals::Server(None) => Line::from("INFO has not been answered yet".dim()),
    }
}

fn proxy(counters: &Counters, up: &str, width: u16) -> String {
    let millis = Duration::from_millis;
    let episodes = counted(counters.episodes, "episode");
    let (busy, given_up) = (span(millis(counters.busy_ms)), counters.given_up);
    if width < WIDE {
        return format!("{episodes}, {busy} busy, {given_up} given up");
    }
    let mut text = format!(
        "since the start {up} ago: {episodes}, {busy} busy; {}, {}; {given_up} given up",
        counted(counters.stalls, "stall"),
        span(millis(counters.stalled_ms))
    );
    // What should not be is told only if it was.
    for (count, what) in [
        (counters.holes, "holes"),
        (counters.ambiguous, "ambiguous"),
        (counters.too_large, "too large"),
        (counters.unreached_connections, "clients refused"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn server(rejections: &Rejections) -> String {
    let mut text = format!("{} with BUSY so far", counted(rejections.busy, "answer"));
    let named =
        rejections.by_command.iter().take(COMMANDS_NAMED).map(|(name, count)| format!("{name} {count}"));
    let named = named.collect::<Vec<_>>().join(", ");
    if !named.is_empty() {
        let _ = write!(text, "; rejected for any reason: {named}");
    }
    text
}
