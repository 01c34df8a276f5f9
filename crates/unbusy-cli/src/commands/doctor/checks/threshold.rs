//! The threshold itself.

use std::time::Duration;

use super::super::finding::Finding;
use super::super::reading::Facts;
use crate::asking::ago;

const ABOUT: &str = "threshold";
const USUAL_MILLIS: u64 = 5000;
/// Longer than most clients wait for an answer.
const LONG: Duration = Duration::from_secs(10);
/// Scripts of this length are in everyday use.
const SHORT: Duration = Duration::from_millis(50);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let name = facts.threshold_name();
    let Some(threshold) = facts.known_threshold() else {
        let finding = Finding::note(
            ABOUT,
            format!("{name} may not be read; {} is assumed here", ago(facts.threshold())),
        )
        .because("unbusy proxy assumes the same, which is wrong if it is lower")
        .cured_by(
            "unbusy proxy --busy-threshold DURATION, or let its user read it: ACL SETUSER NAME +config|get",
        );
        return vec![finding];
    };
    let seen = format!("{name} is {}", ago(threshold));
    vec![match threshold {
        Duration::ZERO => Finding::problem(ABOUT, format!("{name} is 0"))
            .because(
                "the server never answers BUSY: while a script runs nobody gets any answer, and it cannot be killed",
            )
            .cured_by(facts.set(name, USUAL_MILLIS)),
        threshold if threshold > LONG => Finding::warning(ABOUT, seen)
            .because(
                "for so long a script leaves everybody without any answer; clients give up meanwhile, though their \
                 commands are executed afterwards, and nothing can kill the script before",
            )
            .cured_by(facts.set(name, USUAL_MILLIS)),
        threshold if threshold < SHORT => Finding::note(ABOUT, seen)
            .because("scripts that hardly anybody would notice make clients see BUSY; unbusy holds those, too")
            .cured_by(facts.set(name, USUAL_MILLIS)),
        _ => Finding::ok(ABOUT, format!("{seen}: so long is the silence before a script makes the server answer BUSY")),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;

    #[test]
    fn by_its_length() {
        let of = |millis: &str| severities(&check(&facts(&[("busy-reply-threshold", millis)], "")))[0];
        assert_eq!([of("0"), of("20"), of("5000"), of("60000")], ["problem", "note", "ok", "warning"]);
        assert_eq!(severities(&check(&facts(&[], ""))), ["note"]);
    }

    #[test]
    fn by_the_name_that_the_server_knows() {
        let old = check(&facts(&[("lua-time-limit", "0")], ""));
        assert_eq!(old[0].cure.as_deref(), Some("redis-cli -u redis://h:1 CONFIG SET lua-time-limit 5000"));
    }
}
