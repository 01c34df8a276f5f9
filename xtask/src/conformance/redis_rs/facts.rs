//! What there is to say about the suite of the `redis` crate.

use crate::conformance::{Difference, LeftOut};

/// A change to the suite's text.
pub(super) struct Edit {
    pub(super) file: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

/// unbusy connects to clusters with functions of its own, and has no constructor for managers but its client's. Without
/// unbusy the same text does what the suite says.
pub(super) const EDITS: [Edit; 10] = [
    Edit {
        file: "support/cluster.rs",
        from: "self.client.get_connection()",
        to: "redis::cluster::get_connection(&self.client)",
    },
    Edit {
        file: "support/cluster.rs",
        from: "self.client.get_async_connection()",
        to: "redis::cluster_async::get_async_connection(&self.client)",
    },
    Edit {
        file: "test_acl.rs",
        from: "cluster.client.get_async_connection()",
        to: "redis::cluster_async::get_async_connection(&cluster.client)",
    },
    Edit {
        file: "test_acl.rs",
        from: "client1.get_async_connection()",
        to: "redis::cluster_async::get_async_connection(&client1)",
    },
    Edit {
        file: "test_acl.rs",
        from: "client2.get_async_connection()",
        to: "redis::cluster_async::get_async_connection(&client2)",
    },
    Edit {
        file: "test_cluster.rs",
        from: "cluster.client.get_connection()",
        to: "redis::cluster::get_connection(&cluster.client)",
    },
    Edit {
        file: "test_cluster.rs",
        from: "client.get_connection()",
        to: "redis::cluster::get_connection(&client)",
    },
    Edit {
        file: "test_cluster_async.rs",
        from: "cluster.client.get_async_connection()",
        to: "redis::cluster_async::get_async_connection(&cluster.client)",
    },
    Edit {
        file: "test_cluster_async.rs",
        from: "client.get_async_connection()",
        to: "redis::cluster_async::get_async_connection(&client)",
    },
    Edit {
        file: "test_async.rs",
        from: "redis::aio::ConnectionManager::new_with_config(",
        to: "redis::aio::manager(",
    },
];

/// Files of the suite that are not run, and why.
pub(super) const FILES_NOT_RUN: [(&str, &str); 11] = [
    ("parser.rs", "speaks to no server"),
    ("test_bignum.rs", "speaks to no server"),
    ("test_digest_utils.rs", "speaks to no server"),
    ("test_hotkeys.rs", "wants Redis 8.6"),
    ("test_module_bloom.rs", "wants a module"),
    ("test_module_json.rs", "wants a module"),
    ("test_module_search.rs", "wants a module"),
    (
        "test_sentinel.rs",
        "unbusy has one function for what Sentinel finds, in place of the types that these tests are about",
    ),
    ("test_support.rs", "tests the suite itself"),
    ("test_tls_cert_auth.rs", "wants TLS"),
    ("test_types.rs", "speaks to no server"),
];

const fn never(place: &'static str, name: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { name, place, with_unbusy: false, reason }
}

const fn not_with_unbusy(place: &'static str, name: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { name, place, with_unbusy: true, reason }
}

const DATABASES: &str = "wants a newer `redis-test` than the one that is published";
const PIPELINE: &str = "a pipeline on a blocking connection to a cluster, which unbusy does not offer";
const MONITOR: &str =
    "a monitor, which unbusy does not offer: the crate's own does not tell that MONITOR was rejected";
const CONFIG: &str =
    "settings for one asynchronous connection to a cluster, which unbusy takes from the client only";

/// Functions of the suite that are not compiled.
pub(super) const LEFT_OUT: &[LeftOut] = &[
    never("test_cluster.rs", "test_cluster_numbered_database", DATABASES),
    never("test_cluster_async.rs", "test_async_cluster_numbered_database", DATABASES),
    not_with_unbusy("test_async.rs", "test_monitor", MONITOR),
    not_with_unbusy("test_cluster.rs", "test_cluster_pipeline", PIPELINE),
    not_with_unbusy("test_cluster.rs", "test_cluster_pipeline_multiple_keys", PIPELINE),
    not_with_unbusy("test_cluster.rs", "test_cluster_pipeline_invalid_command", PIPELINE),
    not_with_unbusy("test_cluster.rs", "test_cluster_pipeline_command_ordering", PIPELINE),
    not_with_unbusy("test_cluster.rs", "test_cluster_pipeline_ordering_with_improper_command", PIPELINE),
    not_with_unbusy("test_cluster.rs", "fail_on_empty_command", PIPELINE),
    not_with_unbusy("support/cluster.rs", "async_connection_with_config", CONFIG),
    not_with_unbusy("test_cluster_async.rs", "test_async_cluster_connect_lazily", CONFIG),
    not_with_unbusy("test_cluster_async.rs", "test_pub_sub_subscription_with_config", CONFIG),
];

const COUNTS_CONNECTIONS: &str = "counts the server's connections, and what makes it busy has one";

const CHANGES_CREDENTIALS: &str = "its credentials change every half second, also while its commands wait";

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference::always(
        "test_timeout_in_middle_of_message_leaves_connection_usable",
        "its server of three canned answers does not know CONFIG GET, with which unbusy asks for the threshold",
    ),
    Difference::when_busy("kills_connection_on_drop_even_when_blocking", COUNTS_CONNECTIONS),
    Difference::when_busy("test_kill_connection_on_drop_even_when_blocking", COUNTS_CONNECTIONS),
    Difference::when_busy("sharing_a_single_credentials_provider", CHANGES_CREDENTIALS),
    Difference::when_busy("token_rotation_with_mock_streaming_credentials_provider", CHANGES_CREDENTIALS),
    Difference::when_busy("error_handling_with_mock_streaming_credentials_provider", CHANGES_CREDENTIALS),
    Difference::when_busy(
        "test_mset_ex_expiration_options",
        "its keys live for one second, and expire while its commands wait",
    ),
    Difference::when_busy(
        "test_connection_timeout_on_busy_server",
        "its other thread's DEBUG SLEEP of 0.1 s waits as well, and need not have begun when it connects",
    ),
    Difference::always(
        "test_hsetex_field_expiration_options",
        "wants fields to be gone 0.1 s after they expired, which it does not always get as it is, either",
    ),
];
