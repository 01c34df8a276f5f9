"""Masters and replicas that Sentinel tells of."""

from __future__ import annotations

from typing import Any

import redis.asyncio.sentinel
import redis.sentinel

from unbusy import _asyncio, _sync


class SentinelConnectionPool(redis.sentinel.SentinelConnectionPool):
    """A pool of connections that wait while the server is busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_class = _sync.held_class(self.connection_class)


class Sentinel(redis.sentinel.Sentinel):
    """redis-py's, whose masters and replicas are waited for while they are busy."""

    def master_for(
        self,
        service_name: str,
        redis_class: Any = _sync.Redis,
        connection_pool_class: Any = SentinelConnectionPool,
        **kwargs: Any,
    ) -> Any:
        return super().master_for(service_name, redis_class, connection_pool_class, **kwargs)

    def slave_for(
        self,
        service_name: str,
        redis_class: Any = _sync.Redis,
        connection_pool_class: Any = SentinelConnectionPool,
        **kwargs: Any,
    ) -> Any:
        return super().slave_for(service_name, redis_class, connection_pool_class, **kwargs)


class AsyncSentinelConnectionPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """A pool of connections that wait while the server is busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_class = _asyncio.held_class(self.connection_class)


class AsyncSentinel(redis.asyncio.sentinel.Sentinel):
    """redis-py's, whose masters and replicas are waited for while they are busy."""

    def master_for(
        self,
        service_name: str,
        redis_class: Any = _asyncio.Redis,
        connection_pool_class: Any = AsyncSentinelConnectionPool,
        **kwargs: Any,
    ) -> Any:
        return super().master_for(service_name, redis_class, connection_pool_class, **kwargs)

    def slave_for(
        self,
        service_name: str,
        redis_class: Any = _asyncio.Redis,
        connection_pool_class: Any = AsyncSentinelConnectionPool,
        **kwargs: Any,
    ) -> Any:
        return super().slave_for(service_name, redis_class, connection_pool_class, **kwargs)
