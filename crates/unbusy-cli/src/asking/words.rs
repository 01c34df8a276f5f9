//! Durations for people and for programs.

use std::time::Duration;

/// A duration with as many digits as a person wants.
pub(crate) fn ago(duration: Duration) -> String {
    let millis = millis(duration);
    if duration >= Duration::from_secs(1) {
        let seconds = duration.as_secs_f64();
        if seconds.fract() < 0.005 { format!("{seconds:.0}s") } else { format!("{seconds:.2}s") }
    } else if duration >= Duration::from_millis(10) {
        format!("{millis:.0}ms")
    } else {
        format!("{millis:.2}ms")
    }
}

/// A number of milliseconds, to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_digits_as_matter() {
        let written = |micros| ago(Duration::from_micros(micros));
        assert_eq!(written(123), "0.12ms");
        assert_eq!(written(123_456), "123ms");
        assert_eq!(written(5_000_000), "5s");
        assert_eq!(written(61_250_000), "61.25s");
    }
}
