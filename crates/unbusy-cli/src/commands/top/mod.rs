//! `unbusy top`: what a server does and who waits, live in the terminal.
//!
//! A source tells news, `picture` is what is known by them, and `view` draws that.
mod clock;
mod keys;
mod picture;
mod sight;
mod source;
mod view;
mod words;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ratatui::crossterm::event::Event;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use clock::Clock;
use keys::Act;
use picture::{Now, Picture};
use sight::News;
use view::{Look, Rows};

use crate::cli::{Subject, TopArgs, UsageError};
use crate::commands::screen::{Input, Screen};

/// Signals are looked for at least so often.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);
const DIED_OF_SIGNAL: u8 = 128;

pub(crate) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    if !std::io::stdout().is_terminal() {
        let text = "top needs a terminal to draw on; `unbusy status URL` tells the state once, with --json for programs";
        return Err(UsageError::new(text).into());
    }
    let subject = match &settings.subject {
        Subject::Server(settings) => settings.server.to_string(),
        Subject::Proxy(settings) => settings.to_string(),
    };
    let news = source::start(settings.subject, settings.interval)?;
    let signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP])?;
    let screen = Screen::open().context("the terminal cannot be used as a screen")?;
    Watch::new(subject, news, signals).until_the_end(screen, settings.interval)
}

/// Somebody who watches.
struct Watch {
    news: Receiver<News>,
    signals: Signals,
    clock: Clock,
    picture: Picture,
    /// What is shown while it is paused, and of when that is.
    paused: Option<(Picture, Now)>,
    offset: usize,
    help: bool,
    rows: Rows,
    /// How many rows can be seen at once.
    page: usize,
    colours: bool,
}

impl Watch {
    fn new(subject: String, news: Receiver<News>, signals: Signals) -> Self {
        Self {
            news,
            signals,
            clock: Clock::start(),
            picture: Picture::new(subject),
            paused: None,
            offset: 0,
            help: false,
            rows: Rows::Episodes,
            page: 0,
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    fn until_the_end(mut self, mut screen: Screen, interval: Duration) -> anyhow::Result<ExitCode> {
        loop {
            self.listen()?;
            self.picture.sample(self.clock.now());
            screen.terminal.draw(|frame| self.page = self.draw(frame))?;
            if let Some(code) = self.wait(&screen, interval)? {
                return Ok(code);
            }
        }
    }

    /// Takes in all that was told.
    fn listen(&mut self) -> anyhow::Result<()> {
        loop {
            match self.news.try_recv() {
                Ok(news) => {
                    let new = self.picture.take(news, self.clock.now());
                    // Who looks at old ones keeps them before him.
                    if self.offset > 0 && self.paused.is_none() && self.rows == Rows::Episodes {
                        self.scroll(new.cast_signed());
                    }
                }
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => anyhow::bail!("nobody watches any more"),
            }
        }
    }

    fn draw(&self, frame: &mut ratatui::Frame<'_>) -> usize {
        let look = Look {
            now: self.clock.now(),
            offset: self.offset,
            help: self.help,
            rows: self.rows,
            paused: self.paused.is_some(),
            colours: self.colours,
        };
        match &self.paused {
            Some((picture, now)) => view::draw(frame, picture, Look { now: *now, ..look }),
            None => view::draw(frame, &self.picture, look),
        }
    }

    /// Waits for the time to draw again, or for something that changes what is to be drawn; the exit code if that is the end.
    fn wait(&mut self, screen: &Screen, interval: Duration) -> anyhow::Result<Option<ExitCode>> {
        let due = Instant::now() + interval;
        loop {
            if let Some(signal) = self.signals.pending().next() {
                return Ok(Some(ExitCode::from(DIED_OF_SIGNAL + signal as u8)));
            }
            let left = due.saturating_duration_since(Instant::now());
            let act = match screen.input(left.min(SIGNALS_EVERY))? {
                Input::Event(Event::Key(key)) => keys::act(key, self.page),
                Input::Event(_) => Act::Nothing,
                Input::Gone => return Ok(Some(ExitCode::from(DIED_OF_SIGNAL + SIGHUP as u8))),
                Input::Nothing if left.is_zero() => return Ok(None),
                Input::Nothing => continue,
            };
            return Ok(self.act(act).then_some(ExitCode::SUCCESS));
        }
    }

    /// Does what a key asks for; whether that is the end.
    fn act(&mut self, act: Act) -> bool {
        match act {
            Act::End => return true,
            Act::Help => self.help = !self.help,
            Act::Scripts => {
                self.offset = 0;
                self.rows = match self.rows {
                    Rows::Episodes => Rows::Scripts,
                    Rows::Scripts => Rows::Episodes,
                };
            }
            Act::Scroll(lines) => self.scroll(lines),
            Act::Pause => {
                self.paused = match self.paused {
                    Some(_) => None,
                    None => Some((self.picture.clone(), self.clock.now())),
                }
            }
            Act::Nothing => {}
        }
        false
    }

    fn scroll(&mut self, lines: isize) {
        let shown = self.paused.as_ref().map_or(&self.picture, |(picture, _)| picture);
        let rows = match self.rows {
            Rows::Episodes => shown.episodes.len(),
            Rows::Scripts => shown.scripts.len(),
        };
        let last = rows.saturating_sub(self.page.max(1));
        self.offset = self.offset.saturating_add_signed(lines).min(last);
    }
}
