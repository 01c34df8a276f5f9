"""Clusters: each node has an engine of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import redis
import redis.asyncio

from unbusy import _asyncio, _sync
from unbusy._connection import Variants, taken


class HeldCluster:
    """A client for a cluster, whose commands wait while a node is busy."""

    pools: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        host: str | None = None,
        port: int = 6379,
        startup_nodes: list[Any] | None = None,
        *,
        url: str | None = None,
        ssl: bool = False,
        **kwargs: Any,
    ) -> None:
        if startup_nodes and not host:
            host, port = str(startup_nodes[0].host), int(startup_nodes[0].port)
        if host and url is None:
            # Only with an address of this form may the connections be of another class.
            place = f"[{host}]" if ":" in host else host
            url = f"{'rediss' if ssl else 'redis'}://{place}:{port}"
        pool = partial(self.pools, **taken(kwargs))
        kwargs |= {"startup_nodes": startup_nodes, "url": url, "connection_pool_class": pool}
        super().__init__(**kwargs)


class RedisCluster(HeldCluster, redis.RedisCluster):
    """redis-py's client for a cluster, whose commands wait while a node is busy."""

    pools = _sync.ConnectionPool


class HeldAsyncCluster:
    """An asynchronous client for a cluster, whose commands wait while a node is busy."""

    variants: ClassVar[Variants]
    connection_kwargs: dict[str, Any]
    nodes_manager: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        in_addition = taken(kwargs)
        super().__init__(*args, **kwargs)
        own = self.connection_kwargs
        own["connection_class"] = self.variants(own["connection_class"])
        own.update(in_addition)
        # Those that were named have been made already, but nothing was asked of them.
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = own["connection_class"]
            node.connection_kwargs.update(in_addition)


class AsyncRedisCluster(HeldAsyncCluster, redis.asyncio.RedisCluster):  # type: ignore[misc] # its bases differ
    """redis-py's asynchronous client for a cluster, whose commands wait while a node is busy."""

    variants = _asyncio.held_class
