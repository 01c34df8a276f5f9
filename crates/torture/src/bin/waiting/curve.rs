//! How many have been answered, drawn over the time since the script's end.

use std::fmt::Write as _;
use std::time::Duration;

/// One line of the plot.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// Sorted.
    pub(crate) after: Vec<Duration>,
}

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
polyline { fill: none; stroke-width: 2 }
.c0 { stroke: #8c959f } text.c0 { stroke: none; fill: #59636e }
.c1 { stroke: #1a7f6e } text.c1 { stroke: none; fill: #1a7f6e }
.c2 { stroke: #8250df } text.c2 { stroke: none; fill: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.grid { stroke: #3d444d }
.c0 { stroke: #9198a1 } text.c0 { fill: #9198a1 }
.c1 { stroke: #3fb79f } text.c1 { fill: #3fb79f }
.c2 { stroke: #ab7df8 } text.c2 { fill: #ab7df8 }
}
";

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 70.0;
/// The time is drawn by its logarithm, in milliseconds: from a round trip to what the home remedy takes.
const FIRST_MS: f64 = 0.1;
const DECADES: u8 = 5;

/// An image in SVG.
pub(crate) fn draw(title: &str, curves: &[Curve]) -> String {
    let mut body = String::new();
    text(&mut body, (LEFT, 20.0), "title", title);
    for decade in 0..=DECADES {
        let ms = FIRST_MS * 10_f64.powi(decade.into());
        let at = x(ms);
        line(&mut body, (at, TOP), (at, HEIGHT - BOTTOM));
        let label = if ms < 1_000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1_000.0) };
        text(&mut body, (at - 14.0, HEIGHT - BOTTOM + 18.0), "tick", &label);
    }
    for share in [0.0, 0.5, 1.0] {
        line(&mut body, (LEFT, y(share)), (WIDTH - RIGHT, y(share)));
        text(&mut body, (8.0, y(share) + 4.0), "tick", &format!("{:.0}%", share * 100.0));
    }
    for (number, curve) in curves.iter().enumerate() {
        let _ = writeln!(body, "<polyline class=\"c{number}\" points=\"{}\"/>", points(&curve.after));
        let at = (LEFT + 220.0 * number as f64, HEIGHT - 16.0);
        text(&mut body, at, &format!("c{number}"), &format!("— {}", curve.name));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n{body}</svg>\n"
    )
}

/// A step for each answer; those that nobody could tell apart are one.
fn points(after: &[Duration]) -> String {
    let mut points = format!("{LEFT:.1},{:.1}", y(0.0));
    let mut last = (f64::NEG_INFINITY, 0.0);
    for (number, time) in after.iter().enumerate() {
        let share = (number + 1) as f64 / after.len() as f64;
        let (at, is_last) = (x(time.as_secs_f64() * 1e3), number + 1 == after.len());
        if at - last.0 >= 0.5 || is_last {
            let _ = write!(points, " {at:.1},{:.1} {at:.1},{:.1}", y(last.1), y(share));
            last = (at, share);
        }
    }
    let _ = write!(points, " {:.1},{:.1}", WIDTH - RIGHT, y(last.1));
    points
}

fn x(ms: f64) -> f64 {
    let decades = (ms.max(FIRST_MS) / FIRST_MS).log10().min(f64::from(DECADES));
    LEFT + decades / f64::from(DECADES) * (WIDTH - LEFT - RIGHT)
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn text(body: &mut String, (x, y): (f64, f64), class: &str, text: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

fn line(body: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ =
        writeln!(body, "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}
