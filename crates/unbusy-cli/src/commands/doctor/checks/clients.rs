//! What clients and probes do in the silence and while the server is busy. Only they know their settings, so most of this
//! is advice.

use std::time::Duration;

use super::super::finding::Finding;
use super::super::reading::Facts;
use super::super::report::{counted, threshold};
use crate::asking::ago;

/// How long libraries wait for an answer unless told otherwise, by what they call themselves to the server.
const LIBRARIES: [(&str, &str, Duration); 5] = [
    ("redis-py", "redis-py", Duration::from_secs(5)),
    ("redis-rs", "redis-rs (asynchronous)", Duration::from_millis(500)),
    ("SE.Redis", "StackExchange.Redis", Duration::from_secs(5)),
    ("go-redis", "go-redis", Duration::from_secs(3)),
    ("jedis", "Jedis", Duration::from_secs(2)),
];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![timeouts(facts), probes()]
}

fn timeouts(facts: &Facts) -> Finding {
    const ABOUT: &str = "client time-outs";
    let limit = facts.threshold();
    let why = "who gives up in the silence before BUSY has not taken the command back: it is executed afterwards, and once \
               more if the client tries again";
    let cure = format!("set them above {} and the longest script (redis-py: socket_timeout=60)", ago(limit));
    let hasty: Vec<_> = LIBRARIES.iter().filter(|(_, _, wait)| *wait <= limit).collect();
    let present: Vec<_> = hasty
        .iter()
        .filter_map(|(id, name, wait)| {
            let count =
                facts.clients.as_ref()?.iter().filter(|client| client.library.starts_with(id)).count() as u64;
            (count > 0).then(|| {
                format!(
                    "{} of {name}, which wait {} unless told otherwise",
                    counted(count, "connection"),
                    ago(*wait)
                )
            })
        })
        .collect();
    if !present.is_empty() {
        let seen = format!("not longer than {}: {}", threshold(facts), present.join("; "));
        return Finding::warning(ABOUT, seen).because(why).cured_by(cure);
    }
    let known = hasty.iter().map(|(_, name, wait)| format!("{name} {}", ago(*wait)));
    let known = known.collect::<Vec<_>>().join(", ");
    let usual = if known.is_empty() {
        String::new()
    } else {
        format!("; some wait less unless told otherwise: {known}")
    };
    Finding::note(ABOUT, format!("they should be longer than {}{usual}", threshold(facts)))
        .because(why)
        .cured_by(cure)
}

fn probes() -> Finding {
    Finding::note(
        "liveness probes",
        "a probe that accepts nothing but PONG takes a busy server for a dead one",
    )
    .because(
        "a restart then loses what is not saved, and makes the outage longer than the script would have been",
    )
    .cured_by("let it accept BUSY and LOADING, too: unbusy status URL; test $? -le 1 -o $? -eq 5")
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;
    use crate::commands::doctor::reading::client;

    #[test]
    fn libraries_that_give_up_too_soon_are_named() {
        let mut facts = facts(&[("busy-reply-threshold", "5000")], "");
        facts.clients = Some(
            ["id=1 lib-name=redis-py lib-ver=8.1", "id=2 lib-name=lettuce", "id=3 name=redis-py"]
                .map(client)
                .to_vec(),
        );
        let findings = check(&facts);
        assert_eq!(severities(&findings), ["warning", "note"]);
        let seen = "not longer than the threshold of 5s: 1 connection of redis-py, which wait 5s unless told otherwise";
        assert_eq!(findings[0].seen, seen);
        facts.settings.insert("busy-reply-threshold".to_owned(), "4999".to_owned());
        assert_eq!(severities(&check(&facts)), ["note", "note"]);
    }
}
