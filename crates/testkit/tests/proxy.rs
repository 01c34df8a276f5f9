//! The kit's view of a proxy, on a stand-in for the binary.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use testkit::Proxy;

const STAND_IN: &str = r#"#!/bin/sh
trap 'echo draining >&2; exit 3' TERM
echo "$@" >&2
echo "INFO listening on 127.0.0.1:4321 upstream" >&2
while :; do sleep 0.01; done
"#;

#[test]
fn a_proxy_is_started_watched_and_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join("unbusy");
    fs::write(&bin, STAND_IN).expect("a file");
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).expect("a file");

    let mut proxy = Proxy::start(&bin, "redis://up:1", &["--max-wait", "2s"]);
    assert_eq!(proxy.url(), "redis://127.0.0.1:4321");
    assert!(proxy.log().starts_with("proxy --listen 127.0.0.1:0 --upstream redis://up:1 --max-wait 2s\n"));
    assert!((100_000..100_000_000).contains(&proxy.rss_bytes()));
    assert!(proxy.cpu_time() < Duration::from_secs(5));

    proxy.terminate();
    assert_eq!(proxy.wait_exit(Duration::from_secs(5)).code(), Some(3));
    assert_eq!(proxy.wait_log("drain", Duration::from_secs(5)), "draining");
}
