//! The text format of Prometheus, version 0.0.4, which every scraper reads.
//!
//! Written here rather than by a metrics library: those keep the numbers, in cells that all threads share, but these are kept
//! by their workers and the gate, and exist as one only when they are asked for.

use std::fmt::{Display, Write as _};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Page(String);

/// A metric that was announced, for its samples.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let page = &mut self.0;
        // Writing to a string does not fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page, name }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// The only sample.
    pub(super) fn is(&mut self, value: impl Display) {
        self.sample("", &[], value);
    }

    /// One of several, told apart by a label.
    pub(super) fn with(&mut self, label: &str, of: &str, value: impl Display) {
        self.sample("", &[(label, of)], value);
    }

    /// The samples of a histogram: how many there were up to each bound, in seconds, and all of them with their sum.
    pub(super) fn distribution(
        &mut self,
        label: (&str, &str),
        buckets: impl Iterator<Item = (f64, u64)>,
        all: u64,
        sum: f64,
    ) {
        for (bound, count) in buckets {
            self.sample("_bucket", &[label, ("le", &bound.to_string())], count);
        }
        self.sample("_bucket", &[label, ("le", "+Inf")], all);
        self.sample("_sum", &[label], sum);
        self.sample("_count", &[label], all);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let Self { page, name } = self;
        let labels: Vec<_> = labels.iter().map(|(name, of)| format!("{name}=\"{}\"", escaped(of))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(page, "{name}{suffix}{labels} {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_each_kind() {
        let mut page = Page::default();
        page.counter("a_total", "How many.").with("of", "x\"\\\n", 3);
        page.gauge("b", "How much.").is(0.25);
        page.histogram("c", "How long.").distribution(
            ("of", "y"),
            [(0.001, 1), (1.0, 2)].into_iter(),
            4,
            5.5,
        );
        let text = "\
# HELP a_total How many.
# TYPE a_total counter
a_total{of=\"x\\\"\\\\\\n\"} 3
# HELP b How much.
# TYPE b gauge
b 0.25
# HELP c How long.
# TYPE c histogram
c_bucket{of=\"y\",le=\"0.001\"} 1
c_bucket{of=\"y\",le=\"1\"} 2
c_bucket{of=\"y\",le=\"+Inf\"} 4
c_sum{of=\"y\"} 5.5
c_count{of=\"y\"} 4
";
        assert_eq!(page.into_text(), text);
    }
}
