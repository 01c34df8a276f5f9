"""valkey-py without BUSY: while a script blocks the server, commands wait instead of failing.

    import unbusy.valkey
    v = unbusy.valkey.Valkey()  # was: valkey.Valkey()

Everything else is as in valkey-py, which `pip install unbusy[valkey]` brings. `unbusy.valkey.asyncio` has the asynchronous classes.
"""

import valkey
import valkey.sentinel

from unbusy._clients import HeldClient, HeldPool
from unbusy._cluster import HeldCluster
from unbusy._connection import Variants
from unbusy._sentinel import HeldSentinel
from unbusy._sync import Held


class Connection(Held, valkey.Connection):
    """A connection over TCP."""


class UnixDomainSocketConnection(Held, valkey.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class SSLConnection(Held, valkey.SSLConnection):
    """A connection with TLS, which is the engine's."""


held_class = Variants(Held, Connection, UnixDomainSocketConnection, SSLConnection)


class ConnectionPool(HeldPool, valkey.ConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = held_class


class BlockingConnectionPool(HeldPool, valkey.BlockingConnectionPool):
    """The same, which waits for a connection when all are in use."""

    variants = held_class


class Valkey(HeldClient, valkey.Valkey):  # pyright: ignore[reportIncompatibleMethodOverride]
    pools = ConnectionPool


class ValkeyCluster(HeldCluster, valkey.ValkeyCluster):
    """valkey-py's client for a cluster, whose commands wait while a node is busy."""

    pools = ConnectionPool


class SentinelConnectionPool(HeldPool, valkey.sentinel.SentinelConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = held_class


class Sentinel(HeldSentinel, valkey.sentinel.Sentinel):
    """valkey-py's, whose masters and replicas are waited for while they are busy."""

    classes = {"valkey_class": Valkey, "connection_pool_class": SentinelConnectionPool}


from_url = Valkey.from_url
StrictValkey = Valkey

__all__ = [
    "BlockingConnectionPool",
    "Connection",
    "ConnectionPool",
    "SSLConnection",
    "Sentinel",
    "SentinelConnectionPool",
    "StrictValkey",
    "UnixDomainSocketConnection",
    "Valkey",
    "ValkeyCluster",
    "from_url",
]
