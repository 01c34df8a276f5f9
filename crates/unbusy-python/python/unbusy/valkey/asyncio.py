"""valkey-py's asynchronous classes without BUSY: `from unbusy.valkey.asyncio import Valkey`."""

from typing import ClassVar

import valkey
import valkey.asyncio as plain
import valkey.asyncio.sentinel

from unbusy import _asyncio
from unbusy._clients import HeldClient, HeldPool
from unbusy._cluster import HeldAsyncCluster
from unbusy._connection import Variants
from unbusy._sentinel import HeldSentinel


class Held(_asyncio.Held):
    """Raises valkey-py's errors."""

    late: ClassVar[type[Exception]] = valkey.TimeoutError


class Connection(Held, plain.Connection):
    """A connection over TCP."""


class UnixDomainSocketConnection(Held, plain.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class SSLConnection(Held, plain.SSLConnection):
    """A connection with TLS, which is the engine's."""


held_class = Variants(Held, Connection, UnixDomainSocketConnection, SSLConnection)


class ConnectionPool(HeldPool, plain.ConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = held_class


class BlockingConnectionPool(HeldPool, plain.BlockingConnectionPool):
    """The same, which waits for a connection when all are in use."""

    variants = held_class


class Valkey(HeldClient, plain.Valkey):  # type: ignore[misc] # its bases differ
    pools = ConnectionPool


class ValkeyCluster(HeldAsyncCluster, plain.ValkeyCluster):  # type: ignore[misc] # its bases differ
    """valkey-py's asynchronous client for a cluster, whose commands wait while a node is busy."""

    variants = held_class


class SentinelConnectionPool(HeldPool, valkey.asyncio.sentinel.SentinelConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = held_class


class Sentinel(HeldSentinel, valkey.asyncio.sentinel.Sentinel):
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
