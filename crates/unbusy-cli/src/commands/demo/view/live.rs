//! A screen that shows the groups side by side.

use std::io;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::Event;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Sparkline};

use super::pace::{Pace, Watch};
use crate::commands::demo::board::{Board, Group, ScriptState};
use crate::commands::demo::plan::{CLIENTS_PER_GROUP, Plan};
use crate::commands::demo::report::grouped;
use crate::commands::screen::{Input, Screen, is_end};

const EVERY: Duration = Duration::from_millis(100);

pub(super) async fn show(board: &Board, plan: &Plan) -> io::Result<()> {
    let mut screen = Screen::open()?;
    let mut watch = Watch::new();
    let mut history: [Vec<u64>; Group::ALL.len()] = Default::default();
    while !ended_by_key(&screen)? {
        let paces = watch.look(board);
        for (group, pace) in paces {
            history[group as usize].push(pace.per_second);
        }
        screen.terminal.draw(|frame| draw(frame, board, plan, &paces, &history))?;
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

fn ended_by_key(screen: &Screen) -> io::Result<bool> {
    loop {
        match screen.input(Duration::ZERO)? {
            Input::Event(Event::Key(key)) if is_end(key) => return Ok(true),
            Input::Event(_) => {}
            Input::Gone => return Ok(true),
            Input::Nothing => return Ok(false),
        }
    }
}

fn draw(frame: &mut Frame<'_>, board: &Board, plan: &Plan, paces: &[(Group, Pace)], history: &[Vec<u64>]) {
    let group = Constraint::Max(6);
    let areas = Layout::vertical([Constraint::Length(1), Constraint::Length(3), group, group, group]);
    let [title, script, direct, remedy, unbusy] = areas.areas(frame.area());
    draw_title(frame, title, board, plan);
    draw_script(frame, script, board.script(), plan);
    let highest = history.iter().flatten().copied().max().unwrap_or_default();
    for (&(group, pace), area) in paces.iter().zip([direct, remedy, unbusy]) {
        draw_group(frame, area, group, pace, &history[group as usize], highest);
    }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, board: &Board, plan: &Plan) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(14)]).areas(area);
    frame.render_widget(Line::from(vec!["unbusy demo".bold(), "   Ctrl-C or q ends it".dim()]), left);
    let (elapsed, total) = (board.elapsed().as_secs_f64(), plan.total().as_secs_f64());
    frame.render_widget(Line::from(format!("{elapsed:.1} of {total:.0} s")).right_aligned(), right);
}

fn draw_script(frame: &mut Frame<'_>, area: Rect, state: ScriptState, plan: &Plan) {
    let (ratio, label, colour) = match state {
        ScriptState::NotYet => (0.0, "not yet".to_owned(), Color::Green),
        ScriptState::Over => (0.0, "over: the server accepts commands".to_owned(), Color::Green),
        ScriptState::Running { since, length } => {
            let so_far = since.elapsed();
            let busy = so_far > plan.threshold;
            let (answer, colour) =
                if busy { ("answers BUSY", Color::Red) } else { ("is silent", Color::Yellow) };
            let (seconds, all) = (so_far.as_secs_f64(), length.as_secs_f64());
            let label = format!("runs for {seconds:.1} of {all:.1} s: the server {answer}");
            ((seconds / all).min(1.0), label, colour)
        }
    };
    let gauge = Gauge::default().block(Block::bordered().title("script")).ratio(ratio).label(label);
    frame.render_widget(gauge.gauge_style(colour), area);
}

fn draw_group(frame: &mut Frame<'_>, area: Rect, group: Group, pace: Pace, history: &[u64], highest: u64) {
    let colour = match (pace.count.errors, group) {
        (1.., _) => Color::Red,
        (0, Group::Unbusy) => Color::Green,
        (0, _) => Color::Yellow,
    };
    let title = format!(
        " {}: {} commands/s, {} of {CLIENTS_PER_GROUP} waiting, {} errors ",
        group.name(),
        grouped(pace.per_second),
        pace.count.waiting,
        grouped(pace.count.errors)
    );
    let block = Block::bordered().title(title.bold());
    let inside = usize::from(area.width.saturating_sub(2));
    let latest = &history[history.len().saturating_sub(inside)..];
    let bars = Sparkline::default().block(block).data(latest).max(highest.max(1));
    frame.render_widget(bars.style(colour), area);
}
