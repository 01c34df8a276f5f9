"""Clusters: each node has an engine of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.cluster import ClusterNode

from unbusy import _asyncio, _sync
from unbusy._connection import taken


class RedisCluster(redis.RedisCluster):
    """redis-py's client for a cluster, whose commands wait while a node is busy."""

    def __init__(
        self,
        host: str | None = None,
        port: int = 6379,
        startup_nodes: list[ClusterNode] | None = None,
        *,
        url: str | None = None,
        ssl: bool = False,
        **kwargs: Any,
    ) -> None:
        if url is None and (host or startup_nodes):
            # Only with an address of this form may the connections be of another class.
            if not host:
                host, port = startup_nodes[0].host, startup_nodes[0].port  # type: ignore[index]
            place = f"[{host}]" if ":" in host else host
            url = f"{'rediss' if ssl else 'redis'}://{place}:{port}"
        pool = partial(_sync.ConnectionPool, **taken(kwargs))
        super().__init__(startup_nodes=startup_nodes, url=url, connection_pool_class=pool, **kwargs)


class AsyncRedisCluster(redis.asyncio.RedisCluster):
    """redis-py's asynchronous client for a cluster, whose commands wait while a node is busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        in_addition = taken(kwargs)
        super().__init__(*args, **kwargs)
        own = self.connection_kwargs
        own["connection_class"] = _asyncio.held_class(own["connection_class"])
        own.update(in_addition)
        # Those that were named have been made already, but nothing was asked of them.
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = own["connection_class"]
            node.connection_kwargs.update(in_addition)
