//! What is to be seen in each state, on terminals of several sizes.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::{Look, Rows, draw};
use crate::commands::top::picture::{Now, Picture};
use crate::commands::top::sight::{Cost, Culprit, Doing, Episode, News, Rejections, Sight, Totals, Waiting};
use crate::endpoint::Counters;

/// Noon of some day.
const NOON: Now = 1_700_049_600_000;
const SHA: &str = "694a5fe1ddb97a4c6a1bf299d9537c7d3d0f84e7";
const SIZES: [(u16, u16); 3] = [(40, 10), (80, 20), (140, 32)];

fn script() -> Culprit {
    Culprit {
        cause: "script".to_owned(),
        script: Some(SHA.to_owned()),
        client: Some("10.0.0.7:53412".to_owned()),
    }
}

/// What a proxy tells that was started an hour before noon.
fn proxy(doing: Doing, lasted: u64) -> Sight {
    let counters = Counters {
        episodes: 34,
        busy_ms: 63_000,
        stalls: 40,
        stalled_ms: 12_300,
        given_up: 5,
        ..Counters::default()
    };
    Sight {
        now_ms: NOON,
        start: Some("1".to_owned()),
        behind: Some("10.0.0.5:6379".to_owned()),
        waiting: match doing {
            Doing::Open => Waiting::Clients { all: 40, connections: 0, commands: 0, longest: Duration::ZERO },
            _ => Waiting::Clients {
                all: 40,
                connections: 12,
                commands: 120,
                longest: Duration::from_millis(4_200),
            },
        },
        doing,
        lasted: Duration::from_millis(lasted),
        threshold: Some(Duration::from_secs(5)),
        totals: Totals::Proxy { started_ms: NOON - 3_600_000, draining: false, counters },
    }
}

fn server(doing: Doing, lasted: u64) -> Sight {
    let by_command = vec![("ping".to_owned(), 8), ("incr".to_owned(), 3)];
    let wait = if doing == Doing::Open { 300 } else { lasted * 1_000 };
    Sight {
        start: None,
        behind: None,
        waiting: Waiting::Anyone(Duration::from_micros(wait)),
        threshold: None,
        totals: Totals::Server(Some(Rejections { busy: 11, by_command })),
        ..proxy(doing, lasted)
    }
}

/// What was told, at noon; with the episodes before that, and a minute of waiting before.
fn picture(subject: &str, sight: Sight) -> Picture {
    let mut picture = Picture::new(subject.to_owned());
    let waits = sight.pulse();
    let mut before = sight.clone();
    for second in 0..60 {
        if let Waiting::Clients { connections, .. } = &mut before.waiting {
            *connections = [0, 0, 3, 7, 20, waits][second as usize / 10];
        }
        let at = NOON - 60_000 + second * 1_000;
        picture.take(News::Sight(Box::new(before.clone())), at);
        picture.sample(at);
    }
    picture.take(News::Sight(Box::new(sight)), NOON);
    picture.take(News::Episodes((1..=30).map(episode).collect()), NOON);
    picture.sample(NOON);
    picture
}

fn episode(number: u64) -> Episode {
    let culprit = match number % 3 {
        0 => script(),
        1 => Culprit { cause: "function".to_owned(), ..Culprit::default() },
        _ => Culprit { cause: "loading".to_owned(), ..Culprit::default() },
    };
    Episode {
        number,
        began_ms: NOON - 3_600_000 * (31 - number),
        lasted: Duration::from_millis(number * 777),
        culprit,
        waited: Some((number, number / 10)),
    }
}

fn through_proxy(doing: Doing, lasted: u64) -> Picture {
    picture("http://127.0.0.1:9380", proxy(doing, lasted))
}

/// A little after noon.
fn look() -> Look {
    Look { now: NOON + 300, ..Look::default() }
}

fn terminal(picture: &Picture, look: Look, (width, height): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| _ = draw(frame, picture, look)).expect("a frame");
    terminal
}

fn screen(picture: &Picture, look: Look, size: (u16, u16)) -> String {
    terminal(picture, look, size).backend().to_string()
}

fn screens(picture: &Picture, look: Look) -> String {
    SIZES.map(|size| screen(picture, look, size)).join("\n")
}

#[test]
fn open() {
    insta::assert_snapshot!(screens(&through_proxy(Doing::Open, 0), look()));
}

#[test]
fn busy_with_a_script() {
    insta::assert_snapshot!(screens(&through_proxy(Doing::Busy(script()), 12_300), look()));
}

#[test]
fn busy_with_something_that_did_not_come_through() {
    let strange = Culprit { cause: "script".to_owned(), ..Culprit::default() };
    insta::assert_snapshot!(screen(&through_proxy(Doing::Busy(strange), 12_300), look(), (80, 16)));
}

#[test]
fn stalled() {
    insta::assert_snapshot!(screens(&through_proxy(Doing::Stalled, 2_300), look()));
}

#[test]
fn a_server_that_cannot_be_reached_by_its_proxy() {
    let mut picture = through_proxy(Doing::Open, 0);
    picture.take(
        News::Unready(Some("not ready: cannot reach 10.0.0.5:6379: Connection refused".to_owned())),
        NOON,
    );
    insta::assert_snapshot!(screen(&picture, look(), (80, 16)));
}

#[test]
fn a_proxy_that_cannot_be_reached() {
    let mut picture = through_proxy(Doing::Busy(script()), 12_300);
    for at in [1_000, 2_000, 3_000] {
        picture.take(News::Lost("Connection refused (os error 111)".to_owned()), NOON + at);
        picture.sample(NOON + at);
    }
    insta::assert_snapshot!(screens(&picture, Look { now: NOON + 61_000, ..Look::default() }));
}

#[test]
fn nothing_was_ever_reached() {
    let mut picture = Picture::new("http://127.0.0.1:9380".to_owned());
    let asking = screen(&picture, look(), (80, 10));
    picture.take(News::Lost("Connection refused (os error 111)".to_owned()), NOON);
    insta::assert_snapshot!(format!("{asking}\n{}", screen(&picture, look(), (80, 10))));
}

#[test]
fn a_proxy_that_was_restarted() {
    let mut picture = through_proxy(Doing::Open, 0);
    let again = Sight { start: Some("2".to_owned()), ..proxy(Doing::Open, 0) };
    picture.take(News::Sight(Box::new(again)), NOON + 5_000);
    picture.take(News::Episodes(vec![Episode { began_ms: NOON + 5_500, ..episode(1) }]), NOON + 6_000);
    insta::assert_snapshot!(screen(&picture, Look { now: NOON + 65_000, ..Look::default() }, (80, 24)));
    let later = screen(&picture, Look { now: NOON + 400_000, ..Look::default() }, (80, 24));
    assert!(!later.contains("restarted"), "it is no news any more: {later}");
}

#[test]
fn a_server_itself() {
    let function = Culprit { cause: "function".to_owned(), script: Some("report".to_owned()), client: None };
    let states = [
        Doing::Open,
        Doing::Stalled,
        Doing::Busy(function),
        Doing::Unreachable("Connection refused (os error 111)".to_owned()),
        Doing::Refused("NOAUTH Authentication required.".to_owned()),
    ];
    let screens =
        states.map(|doing| screen(&picture("redis://10.0.0.5:6379", server(doing, 7_000)), look(), (80, 12)));
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn older_episodes_a_pause_and_help() {
    let picture = through_proxy(Doing::Open, 0);
    let scrolled = screen(&picture, Look { offset: 10, paused: true, ..look() }, (80, 14));
    let help = SIZES.map(|size| screen(&picture, Look { help: true, ..look() }, size)).join("\n");
    insta::assert_snapshot!(format!("{scrolled}\n{help}"));
}

#[test]
fn scripts_instead_of_episodes() {
    let mut picture = through_proxy(Doing::Open, 0);
    let none = screen(&picture, Look { rows: Rows::Scripts, ..look() }, (80, 10));
    let costs = |more: u64| {
        let cost = |name: &str, runs, blocked| Cost {
            name: name.to_owned(),
            runs,
            blocked: Duration::from_millis(blocked),
            longest: Some(Duration::from_millis(38)),
        };
        vec![cost(SHA, 12_000, 96_000 + more), cost("function \"report\"", 7, 4_000 + more / 100)]
    };
    picture.take(News::Scripts(costs(0), NOON), NOON);
    picture.take(News::Scripts(costs(740), NOON + 2_000), NOON + 2_000);
    let some = screens(&picture, Look { rows: Rows::Scripts, ..look() });
    let glance = screen(&picture, look(), (80, 12));
    insta::assert_snapshot!(format!("{none}\n{some}\n{glance}"));
}

#[test]
fn no_size_is_too_small() {
    let mut picture = through_proxy(Doing::Busy(script()), 12_300);
    picture.take(News::Lost("gone".to_owned()), NOON);
    for (width, height) in (0..44).flat_map(|width| (0..20).map(move |height| (width, height))) {
        for (help, rows) in [(false, Rows::Episodes), (true, Rows::Episodes), (false, Rows::Scripts)] {
            terminal(&picture, Look { help, rows, offset: 99, ..look() }, (width, height));
        }
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    let picture = through_proxy(Doing::Busy(script()), 12_300);
    let coloured = |colours| {
        let terminal = terminal(&picture, Look { colours, ..look() }, (80, 24));
        terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert_eq!([coloured(true), coloured(false)], [true, false]);
}
