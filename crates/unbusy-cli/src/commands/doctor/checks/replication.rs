//! Replicas, and the Sentinels that watch this server.

use std::time::Duration;

use super::super::finding::Finding;
use super::super::reading::Facts;
use super::super::report::{counted, threshold};
use crate::asking::ago;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    replicas(facts).into_iter().chain(sentinels(facts)).collect()
}

fn replicas(facts: &Facts) -> Option<Finding> {
    const ABOUT: &str = "replicas";
    let count = facts.count("connected_slaves").filter(|count| *count > 0)?;
    let limit = Duration::from_secs(facts.number("repl-timeout")?);
    let seen =
        format!("{}, which wait {} for a sign of life (repl-timeout)", counted(count, "replica"), ago(limit));
    let why = "a busy server sends its replicas nothing; after that time they connect again, which it rejects while it is \
               busy, and perhaps copy everything";
    Some(if limit <= facts.threshold() {
        Finding::problem(ABOUT, format!("{seen}, less than {}", threshold(facts)))
            .because(why)
            .cured_by(facts.set("repl-timeout", 60.max(facts.threshold().as_secs() * 4)))
    } else {
        Finding::ok(ABOUT, format!("{seen}: scripts that are shorter do not disturb them"))
    })
}

/// They name themselves so on the connections that they open.
fn sentinels(facts: &Facts) -> Option<Finding> {
    let is_sentinel = |name: &str| name.starts_with("sentinel-") && name.ends_with("-cmd");
    let count = facts.clients.as_ref()?.iter().filter(|client| is_sentinel(&client.name)).count() as u64;
    (count > 0).then(|| {
        Finding::note("Sentinel", format!("{} this server", if count == 1 { "1 watches".to_owned() } else { format!("{count} watch") }))
            .because(
                "for a Sentinel a busy server is down after down-after-milliseconds: it kills scripts (not functions) and lets a \
                 replica take over",
            )
            .cured_by("unbusy doctor redis://SENTINEL:26379, which compares that time with the threshold")
    })
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;
    use crate::commands::doctor::reading::client;

    #[test]
    fn replicas_that_give_up_before_the_threshold() {
        let of = |seconds| {
            let settings = [("busy-reply-threshold", "5000"), ("repl-timeout", seconds)];
            check(&facts(&settings, "role:master\r\nconnected_slaves:2\r\n"))
        };
        assert_eq!(severities(&of("5")), ["problem"]);
        assert_eq!(of("5")[0].cure.as_deref(), Some("redis-cli -u redis://h:1 CONFIG SET repl-timeout 60"));
        assert_eq!(severities(&of("60")), ["ok"]);
        assert!(check(&facts(&[("repl-timeout", "5")], "connected_slaves:0\r\n")).is_empty());
    }

    #[test]
    fn sentinels_are_known_by_their_names() {
        let mut facts = facts(&[], "");
        let lines = [
            "id=3 addr=h:1 name=sentinel-0123abcd-cmd db=0",
            "id=4 name=sentinel-0123abcd-pubsub",
            "id=5 name= db=0",
        ];
        facts.clients = Some(lines.map(client).to_vec());
        let findings = check(&facts);
        assert_eq!(severities(&findings), ["note"]);
        assert_eq!(findings[0].seen, "1 watches this server");
    }
}
