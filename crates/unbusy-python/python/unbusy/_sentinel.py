"""Masters and replicas that Sentinel tells of."""

from __future__ import annotations

from typing import Any, ClassVar

import redis.asyncio.sentinel
import redis.sentinel

from unbusy import _asyncio, _sync
from unbusy._clients import HeldPool


class HeldSentinel:
    """A client for Sentinel, whose masters and replicas are waited for while they are busy."""

    # The library's names for what its two functions take, in this order, and what they are to be.
    classes: ClassVar[dict[str, type[Any]]]

    def master_for(self, service_name: str, *classes: Any, **kwargs: Any) -> Any:
        return super().master_for(service_name, **self._with_classes(classes, kwargs))  # type: ignore[misc]

    def slave_for(self, service_name: str, *classes: Any, **kwargs: Any) -> Any:
        return super().slave_for(service_name, **self._with_classes(classes, kwargs))  # type: ignore[misc]

    def _with_classes(self, classes: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self.classes | dict(zip(self.classes, classes)) | kwargs


class SentinelConnectionPool(HeldPool, redis.sentinel.SentinelConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = _sync.held_class


class Sentinel(HeldSentinel, redis.sentinel.Sentinel):
    """redis-py's, whose masters and replicas are waited for while they are busy."""

    classes = {"redis_class": _sync.Redis, "connection_pool_class": SentinelConnectionPool}


class AsyncSentinelConnectionPool(HeldPool, redis.asyncio.sentinel.SentinelConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = _asyncio.held_class


class AsyncSentinel(HeldSentinel, redis.asyncio.sentinel.Sentinel):
    """redis-py's, whose masters and replicas are waited for while they are busy."""

    classes = {"redis_class": _asyncio.Redis, "connection_pool_class": AsyncSentinelConnectionPool}
