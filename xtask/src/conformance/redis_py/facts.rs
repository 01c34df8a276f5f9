//! What there is to say about the suite of redis-py.

use crate::conformance::Difference;

const NO_SERVER: &str = "speaks to no server";
const MODULE: &str = "wants a module";
const CLUSTER: &str = "wants a cluster";
const SENTINEL: &str = "wants Sentinels";
const OWN_SERVER: &str = "speaks to a server of its own";
const NEWER: &str = "wants a newer server than any of ours";
const MANAGED: &str = "wants a managed service, or plays one";

/// Files of the suite, and folders, that are not run, and why.
pub(super) const FILES_NOT_RUN: &[(&str, &str)] = &[
    ("maint_notifications/", MANAGED),
    ("test_asyncio/test_bloom.py", MODULE),
    ("test_asyncio/test_client.py", NO_SERVER),
    ("test_asyncio/test_cluster.py", CLUSTER),
    ("test_asyncio/test_cluster_transaction.py", CLUSTER),
    ("test_asyncio/test_command_parser.py", CLUSTER),
    ("test_asyncio/test_command_policies.py", CLUSTER),
    ("test_asyncio/test_connect.py", OWN_SERVER),
    ("test_asyncio/test_hash.py", NEWER),
    ("test_asyncio/test_himport_integration.py", NEWER),
    ("test_asyncio/test_json.py", MODULE),
    ("test_asyncio/test_multidb/", NO_SERVER),
    ("test_asyncio/test_observability/", NO_SERVER),
    ("test_asyncio/test_scenario/", MANAGED),
    ("test_asyncio/test_search.py", MODULE),
    ("test_asyncio/test_sentinel", SENTINEL),
    ("test_asyncio/test_ssl.py", "wants TLS"),
    ("test_asyncio/test_timeseries.py", MODULE),
    ("test_asyncio/test_utils.py", NO_SERVER),
    ("test_asyncio/test_vsets.py", NEWER),
    ("test_auth/", NO_SERVER),
    ("test_background.py", NO_SERVER),
    ("test_backoff.py", NO_SERVER),
    ("test_bloom.py", MODULE),
    ("test_client.py", NO_SERVER),
    ("test_cluster.py", CLUSTER),
    ("test_cluster_transaction.py", CLUSTER),
    ("test_command_policies.py", CLUSTER),
    ("test_connect.py", OWN_SERVER),
    ("test_crc.py", NO_SERVER),
    ("test_data_structure.py", NO_SERVER),
    ("test_defaults.py", NO_SERVER),
    ("test_driver_info.py", NO_SERVER),
    ("test_event.py", NO_SERVER),
    ("test_exceptions.py", NO_SERVER),
    ("test_hash.py", NEWER),
    ("test_helpers.py", NO_SERVER),
    ("test_himport.py", NO_SERVER),
    ("test_himport_integration.py", NEWER),
    ("test_http/", NO_SERVER),
    ("test_json.py", MODULE),
    ("test_legacy_responses_arg.py", NO_SERVER),
    ("test_max_connections_error.py", NO_SERVER),
    ("test_multidb/", NO_SERVER),
    ("test_observability/", NO_SERVER),
    ("test_parsers/", NO_SERVER),
    ("test_scenario/", MANAGED),
    ("test_search", MODULE),
    ("test_sentinel", SENTINEL),
    ("test_ssl.py", "wants TLS"),
    ("test_timeseries.py", MODULE),
    ("test_utils.py", NO_SERVER),
    ("test_vsets.py", NEWER),
];

/// Marks of the suite whose tests are not run, and why.
pub(super) const MARKS_NOT_RUN: &[(&str, &str)] = &[
    ("onlycluster", CLUSTER),
    ("redismod", MODULE),
    ("replica", "wants a replica"),
    ("ssl", "wants TLS"),
    ("cp_integration", MANAGED),
];

/// Files that take a few seconds and show most of what can go wrong.
pub(super) const QUICK_PART: [&str; 4] = [
    "test_asyncio/test_pipeline.py",
    "test_asyncio/test_scripting.py",
    "test_pipeline.py",
    "test_monitor.py",
];

const SLOWLOG: Difference = Difference::when_busy(
    "test_slowlog_get",
    "looks for its commands among the ten newest that were slow, and those of the scripts are there, too",
);

pub(super) const DIFFERENCES: &[Difference] = &[SLOWLOG];

pub(super) const DIFFERENCES_OF_THE_PACKAGE: &[Difference] = &[
    SLOWLOG,
    Difference::when_busy(
        "TestPubSubAutoReconnect",
        "fails if no message comes within 0.1 s, and a script may take 0.25 s",
    ),
    Difference::always(
        "test_blocking_listen_does_not_mutate_socket_timeout",
        "reads an asynchronous connection's `socket_timeout`, which is None there: the package watches the time itself",
    ),
    Difference::always(
        "test_connection_disconect_race",
        "replaces `asyncio.open_connection`, of which the package has no need",
    ),
    Difference::always(
        "test_connect_with_retries",
        "counts what Python's sockets are told to send, and the package sends by itself",
    ),
];
