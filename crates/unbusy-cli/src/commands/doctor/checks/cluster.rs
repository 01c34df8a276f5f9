//! When the other nodes of a cluster take a silent node for dead.

use std::time::Duration;

use super::super::finding::Finding;
use super::super::reading::Facts;
use super::super::report::threshold;
use crate::asking::ago;

const ABOUT: &str = "cluster";
const USUAL_MILLIS: u128 = 15_000;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if facts.count("cluster_enabled") != Some(1) {
        return Vec::new();
    }
    let Some(limit) = facts.number("cluster-node-timeout").map(Duration::from_millis) else {
        return Vec::new();
    };
    let seen = format!("cluster-node-timeout is {}", ago(limit));
    let cure = facts.set("cluster-node-timeout", USUAL_MILLIS.max(facts.threshold().as_millis() * 3));
    vec![if limit <= facts.threshold() {
        Finding::problem(ABOUT, format!("{seen}, not longer than {}", threshold(facts)))
            .because(
                "in the silence before BUSY the node answers the others nothing either: they take it for dead and let a \
                 replica take over",
            )
            .cured_by(cure)
    } else if limit < facts.threshold() * 2 {
        Finding::warning(ABOUT, format!("{seen}, less than twice {}", threshold(facts)))
            .because("a node that is silent for the threshold, and is slow besides, is taken for dead")
            .cured_by(cure)
    } else {
        Finding::ok(
            ABOUT,
            format!(
                "{seen}, much longer than {}; a node that answers BUSY is alive for the others",
                threshold(facts)
            ),
        )
    }]
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;

    #[test]
    fn node_time_out_against_the_threshold() {
        let of = |millis| {
            let settings = [("busy-reply-threshold", "5000"), ("cluster-node-timeout", millis)];
            severities(&check(&facts(&settings, "cluster_enabled:1\r\n")))
        };
        assert_eq!([of("5000"), of("9999"), of("15000")], [["problem"], ["warning"], ["ok"]]);
        assert!(check(&facts(&[("cluster-node-timeout", "1")], "cluster_enabled:0\r\n")).is_empty());
    }
}
