//! What the words and keys mean.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Stylize as _;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

const TEXT: &str = "\
q Esc Ctrl-C end   p pause   ? this
s scripts or episodes   arrows PageUp PageDown Home End: move

OPEN  commands are accepted
STALLED  the server is silent: mostly a script that has not reached its threshold
BUSY  it rejects commands, or a proxy holds them
episode  from the first BUSY to the first accepted command
waited  connections that were held
elsewhere  what did not come through this proxy
blocked, now  for how long a script kept the server from everybody else, and its share of the time now
given up  commands whose clients got the error after all, after --max-wait
times of day are UTC";

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let text = Paragraph::new(TEXT).wrap(Wrap { trim: true });
    let width = area.width.min(62);
    let height = TEXT.lines().map(|line| super::rows(line, width.saturating_sub(2))).sum::<u16>() + 2;
    let place = area.centered(Constraint::Length(width), Constraint::Length(height.min(area.height)));
    frame.render_widget(Clear, place);
    frame.render_widget(text.block(Block::bordered().title(" help ".bold())), place);
}
