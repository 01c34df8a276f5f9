//! Bars as SVG. The colours are those of the reader's browser, light or dark.

use std::fmt::Write;

/// Bars that belong together.
pub(super) struct Group {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) label: &'static str,
    pub(super) value: f64,
    /// The smallest and the largest, if there were several.
    pub(super) range: Option<(f64, f64)>,
    /// It is the one that all is about.
    pub(super) ours: bool,
}

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.label { text-anchor: end }
.bar { fill: #8c959f }
.ours { fill: #1a7f6e }
.range, .mark { stroke: #1f2328; stroke-width: 1 }
.mark { stroke-dasharray: 3 3; stroke: #656d76 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.bar { fill: #6e7681 }
.ours { fill: #3fb79f }
.range { stroke: #e6edf3 }
.mark { stroke: #9198a1 }
}
";

const WIDTH: f64 = 760.0;
/// Where bars begin, and how much room is left for the number behind the longest.
const LEFT: f64 = 140.0;
const RIGHT: f64 = 60.0;
const LINE: f64 = 20.0;
const BAR: f64 = 13.0;
/// Bars beyond this many times the mark are cut off, so that one does not squeeze all others.
const CUT: f64 = 3.5;

/// `mark`: where a line is drawn to compare with.
pub(super) fn bars(title: &str, groups: &[Group], mark: Option<f64>) -> String {
    let values = groups.iter().flat_map(|group| &group.bars);
    let largest = values.map(|bar| bar.range.map_or(bar.value, |range| range.1)).fold(0.0, f64::max);
    let limit = mark.map_or(largest, |mark| largest.min(mark * CUT)).max(f64::MIN_POSITIVE);
    let x = |value: f64| LEFT + value.min(limit) / limit * (WIDTH - LEFT - RIGHT);

    let mut body = String::new();
    let mut y = LINE * 1.2;
    text(&mut body, 4.0, y, "title", title);
    for group in groups {
        y += LINE * 1.4;
        text(&mut body, 4.0, y, "title", &group.title);
        let top = y + LINE * 0.3;
        for bar in &group.bars {
            y += LINE;
            draw(&mut body, bar, y, x);
        }
        if let Some(mark) = mark {
            line(&mut body, "mark", (x(mark), top), (x(mark), y + LINE * 0.3));
        }
    }
    let height = y + LINE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n{body}</svg>\n",
        escape(title)
    )
}

fn draw(body: &mut String, bar: &Bar, y: f64, x: impl Fn(f64) -> f64) {
    text(body, LEFT - 8.0, y, "label", bar.label);
    let class = if bar.ours { "ours" } else { "bar" };
    let (top, width) = (y - BAR + 2.0, x(bar.value) - LEFT);
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{LEFT:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR:.1}\" rx=\"2\"/>"
    );
    let mut end = x(bar.value);
    if let Some((min, max)) = bar.range {
        let middle = top + BAR / 2.0;
        line(body, "range", (x(min), middle), (x(max), middle));
        end = end.max(x(max));
    }
    text(body, end + 6.0, y, "value", &format!("{:.2}", bar.value));
}

fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
}

fn line(body: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        body,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value_and_a_huge_one_is_cut_off() {
        let bar = |value| Bar { label: "a<b", value, range: None, ours: false };
        let group = Group { title: "case".into(), bars: vec![bar(1.0), bar(0.5), bar(100.0)] };
        let svg = bars("title", &[group], Some(1.0));
        let widths: Vec<f64> = svg
            .split("<rect ")
            .skip(1)
            .filter_map(|rect| rect.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths, [160.0, 80.0, 560.0]);
        assert!(svg.contains("a&lt;b") && svg.contains(">100.00<"));
    }
}
