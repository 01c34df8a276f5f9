//! Durations and moments as a glance takes them in.

use std::time::{Duration, SystemTime};

/// A duration with its two largest units, or with a tenth if that is large for it.
pub(super) fn span(duration: Duration) -> String {
    let (millis, seconds) = (duration.as_millis(), duration.as_secs());
    let two = |of: u64, unit, rest: u64, smaller| format!("{of}{unit} {rest}{smaller}");
    match seconds {
        _ if duration.is_zero() => "0s".to_owned(),
        0 if millis == 0 => format!("{:.2}ms", duration.as_secs_f64() * 1e3),
        0 => format!("{millis}ms"),
        1..60 => format!("{:.1}s", (millis / 100) as f64 / 10.0),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86400 => two(seconds / 3600, "h", seconds / 60 % 60, "m"),
        _ => two(seconds / 86400, "d", seconds / 3600 % 24, "h"),
    }
}

/// A moment of this day, and of other days with the day.
pub(super) fn moment(at_ms: u64, now_ms: u64) -> String {
    let text = |ms| {
        humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)).to_string()
    };
    let at = text(at_ms);
    match at.split_once('T') {
        Some((day, time)) if text(now_ms).starts_with(day) => time.to_owned(),
        Some((day, time)) => {
            format!("{} {}", day.get(5..).unwrap_or_default(), time.get(..5).unwrap_or_default())
        }
        None => at,
    }
}

/// A number of things, in words.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let of = |millis| span(Duration::from_millis(millis));
        assert_eq!(span(Duration::from_micros(150)), "0.15ms");
        assert_eq!([of(340), of(4_260), of(59_999)], ["340ms", "4.2s", "59.9s"]);
        assert_eq!([of(192_000), of(7_380_000), of(100_000_000)], ["3m 12s", "2h 3m", "1d 3h"]);
    }

    #[test]
    fn moments_of_today_and_before() {
        let noon = 1_700_049_600_000;
        assert_eq!(moment(noon + 5_000, noon + 60_000), "12:00:05Z");
        assert_eq!(moment(noon, noon + 86_400_000), "11-15 12:00");
    }
}
