"""Clusters: each node has an engine of its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.cluster import ClusterNode

from unbusy import _asyncio, _sync


def _given(max_wait: float | None, hold: str | Iterable[str] | None) -> dict[str, Any]:
    return {name: value for name, value in (("max_wait", max_wait), ("hold", hold)) if value is not None}


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
        max_wait: float | None = None,
        hold: str | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if url is None and (host or startup_nodes):
            # Only with an address of this form may the connections be of another class.
            first = (host, port) if host else (startup_nodes[0].host, startup_nodes[0].port)  # type: ignore[index]
            url = f"{'rediss' if ssl else 'redis'}://{first[0]}:{first[1]}"
        pool = partial(_sync.ConnectionPool, **_given(max_wait, hold))
        super().__init__(startup_nodes=startup_nodes, url=url, connection_pool_class=pool, **kwargs)


class AsyncRedisCluster(redis.asyncio.RedisCluster):
    """redis-py's asynchronous client for a cluster, whose commands wait while a node is busy."""

    def __init__(
        self,
        *args: Any,
        max_wait: float | None = None,
        hold: str | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        own = self.connection_kwargs
        own["connection_class"] = _asyncio.held_class(own["connection_class"])
        own.update(_given(max_wait, hold))
        # Those that were named have been made already, but nothing was asked of them.
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = own["connection_class"]
            node.connection_kwargs.update(_given(max_wait, hold))
