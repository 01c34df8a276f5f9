//! What the server does, in words; and what keeps that from being known.

use std::time::Duration;

use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};

use super::Look;
use crate::commands::top::picture::Picture;
use crate::commands::top::sight::{Culprit, Doing, Sight, Totals};
use crate::commands::top::words::{moment, span};

/// So long it takes until a proxy knows which script runs.
const KNOWN_AFTER_MS: u128 = 200;

pub(super) fn lines(picture: &Picture, look: Look) -> Vec<Line<'static>> {
    let state = match &picture.sight {
        Some((sight, _)) => Some(state(sight, picture, look)),
        None => picture.lost.is_none().then(|| Line::from("asking …")),
    };
    [lost(picture, look), state, restarted(picture, look)].into_iter().flatten().collect()
}

fn state(sight: &Sight, picture: &Picture, look: Look) -> Line<'static> {
    let lasted = picture.lasted(look.now);
    let since = || {
        let (now, lasted_ms) = (picture.their_now(look.now), lasted.as_millis() as u64);
        format!(" for {}, since {}: ", span(lasted), moment(now.saturating_sub(lasted_ms), now))
    };
    let unready = picture.unready.as_ref().filter(|_| !is_draining(sight));
    let (name, colour, mut words): (_, _, Vec<Span<'_>>) = match (&sight.doing, unready) {
        (Doing::Open, Some(reason)) => {
            ("UNREACHABLE", Color::Red, vec![format!(" {}", reason.trim_start_matches("not ready: ")).into()])
        }
        (Doing::Open, None) => ("OPEN", Color::Green, vec![open(sight)]),
        (Doing::Stalled, _) => ("STALLED", Color::Yellow, vec![since().into(), stalled(sight)]),
        (Doing::Busy(culprit), _) => {
            let is_known = lasted.as_millis() >= KNOWN_AFTER_MS;
            let words = [vec![since().into()], busy(culprit, sight, is_known)].concat();
            ("BUSY", Color::Red, words)
        }
        (Doing::Unreachable(reason), _) => {
            ("UNREACHABLE", Color::Red, vec![since().into(), reason.clone().into()])
        }
        (Doing::Refused(reason), _) => {
            let text = format!(" it answers, but with an error that hides its state: {reason}");
            ("REFUSED", Color::Red, vec![text.into()])
        }
    };
    if is_draining(sight) {
        words.push("; the proxy is ending, and takes no new clients".bold());
    }
    let badge = Span::styled(name, Style::new().bold().reversed().patch(look.colour(colour)));
    let before = picture.lost.is_some().then(|| Span::from("before: "));
    before.into_iter().chain([badge]).chain(words).collect()
}

fn open(sight: &Sight) -> Span<'static> {
    // A proxy hears of it only by its clients.
    let how = if sight.behind.is_some() { ", as far as clients noticed" } else { "" };
    format!(" the server accepts commands{how}").into()
}

fn stalled(sight: &Sight) -> Span<'static> {
    let threshold = sight.threshold.map(|threshold| format!(" of {}", span(threshold))).unwrap_or_default();
    let mut text = format!(
        "the server is silent; it may run a script, and say BUSY when that reaches the threshold{threshold}"
    );
    if sight.behind.is_none() {
        text += "; or be stopped; or be a proxy that holds the question";
    }
    text.into()
}

fn busy(culprit: &Culprit, sight: &Sight, is_known: bool) -> Vec<Span<'static>> {
    let cause = culprit.cause.as_str();
    match (cause, &culprit.script) {
        ("loading", _) => vec!["the server reads its data set".into()],
        ("module", _) => vec!["the server runs a module's command".into()],
        (_, Some(script)) => {
            let mut words = vec![format!("{cause} ").into(), script.clone().bold()];
            words.extend(culprit.client.as_ref().map(|client| format!(" of {client}").into()));
            words
        }
        (_, None) if sight.behind.is_none() => {
            vec![format!("a {cause}; the server does not tell which").into()]
        }
        (_, None) if is_known => vec![format!("a {cause} that did not come through this proxy").into()],
        (_, None) => vec![format!("a {cause}").into()],
    }
}

const fn is_draining(sight: &Sight) -> bool {
    matches!(sight.totals, Totals::Proxy { draining: true, .. })
}

fn lost(picture: &Picture, look: Look) -> Option<Line<'static>> {
    let (since, reason) = picture.lost.as_ref()?;
    let (at, ago) = (moment(*since, look.now), span(Duration::from_millis(look.now - since)));
    let from = picture.sight.as_ref().map_or_else(String::new, |(sight, came)| {
        format!(", numbers are from {}", moment(sight.now_ms, picture.their_now(*came)))
    });
    let text = format!("cannot reach the proxy since {at} ({ago}){from}: {reason}");
    Some(Line::styled(text, look.colour(Color::Red).bold()))
}

fn restarted(picture: &Picture, look: Look) -> Option<Line<'static>> {
    let ago = span(picture.restarted(look.now)?);
    let (sight, _) = picture.sight.as_ref()?;
    let what = if sight.behind.is_some() { "the proxy" } else { "the server" };
    let text = format!("{what} was restarted {ago} ago: its totals began anew");
    Some(Line::styled(text, look.colour(Color::Yellow).bold()))
}
