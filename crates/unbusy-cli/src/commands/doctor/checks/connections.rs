//! Connections and the threads that serve them.

use super::super::finding::Finding;
use super::super::reading::Facts;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    [timeout, keepalive, crowd, threads].iter().filter_map(|check| check(facts)).collect()
}

fn timeout(facts: &Facts) -> Option<Finding> {
    let seconds = facts.number::<u64>("timeout").filter(|seconds| *seconds > 0)?;
    Some(
        Finding::note("timeout", format!("clients that are idle for {seconds}s are closed"))
            .because("clients that could not do anything while the server was busy count as idle, and are closed afterwards")
            .cured_by(facts.set("timeout", 0)),
    )
}

fn keepalive(facts: &Facts) -> Option<Finding> {
    (facts.number("tcp-keepalive") == Some(0)).then(|| {
        Finding::note("tcp-keepalive", "off")
            .because("clients that vanish while the server is busy are never noticed")
            .cured_by(facts.set("tcp-keepalive", 300))
    })
}

fn crowd(facts: &Facts) -> Option<Finding> {
    let most = facts.number::<u64>("maxclients")?;
    let now = facts.count("connected_clients")?;
    (now * 5 >= most * 4).then(|| {
        Finding::warning("clients", format!("{now} of at most {most} are connected"))
            .because(
                "clients that connect again after a BUSY come on top of those that the server has not seen close yet, \
                 and are turned away",
            )
            .cured_by(facts.set("maxclients", most * 2))
    })
}

fn threads(facts: &Facts) -> Option<Finding> {
    let threads = facts.number::<u64>("io-threads").filter(|threads| *threads > 1)?;
    let (name, version) = facts.version()?;
    let major: u64 = version.split('.').next()?.parse().ok()?;
    (name == "Valkey" && major >= 8).then(|| {
        Finding::note("io-threads", format!("{threads}, and {name} {version} reads at most 16 KiB of a connection at once"))
            .because("unbusy then keeps less of a pipeline on its way to the server: order is safe, long pipelines are slower")
    })
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;

    #[test]
    fn settings_that_matter_while_busy() {
        let quiet = [("timeout", "0"), ("tcp-keepalive", "300"), ("maxclients", "100"), ("io-threads", "1")];
        assert!(check(&facts(&quiet, "connected_clients:79\r\nvalkey_version:8.0.1\r\n")).is_empty());
        let loud = [("timeout", "10"), ("tcp-keepalive", "0"), ("maxclients", "100"), ("io-threads", "4")];
        let findings = check(&facts(&loud, "connected_clients:80\r\nvalkey_version:8.0.1\r\n"));
        assert_eq!(severities(&findings), ["note", "note", "warning", "note"]);
        assert!(check(&facts(&[("io-threads", "4")], "redis_version:7.0.15\r\n")).is_empty());
    }
}
