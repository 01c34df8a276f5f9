//! What this version does otherwise than newer ones while it is busy.

use super::super::finding::Finding;
use super::super::reading::Facts;

const ABOUT: &str = "version";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some((name, text)) = facts.version() else { return Vec::new() };
    let seen = format!("{name} {text}");
    let mut numbers = text.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let version = [(); 3].map(|()| numbers.next().unwrap_or(0));
    let finding = match (name, version) {
        ("Redis", version) if version < [6, 0, 6] => Finding::warning(ABOUT, seen)
            .because("before 6.0.6 BUSY can break a transaction in the middle; unbusy does not support it"),
        ("Redis", version) if version < [7, 0, 0] => Finding::note(ABOUT, seen).because(
            "before 7.0, commands that are allowed while it is busy (AUTH, WATCH, MULTI …) can let a BLPOP take an element \
             in the middle of the script",
        ),
        ("Redis", version) if version < [7, 0, 13] => Finding::problem(ABOUT, seen)
            .because(
                "from 7.0.0 to 7.0.12, commands that are allowed while it is busy (AUTH, WATCH, SCRIPT KILL …) can crash it, if \
                 the script has pushed to a list that somebody waits for",
            )
            .cured_by("an upgrade to 7.0.13 or newer"),
        _ => return Vec::new(),
    };
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;

    #[test]
    fn by_its_number() {
        let of = |info| severities(&check(&facts(&[], info)));
        assert_eq!(of("redis_version:6.0.5\r\n"), ["warning"]);
        assert_eq!(of("redis_version:6.2.14\r\n"), ["note"]);
        assert_eq!(of("redis_version:7.0.12\r\n"), ["problem"]);
        assert!(of("redis_version:7.0.13\r\n").is_empty());
        assert!(of("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\n").is_empty());
    }
}
