"""redis-py's asynchronous classes without BUSY: `from unbusy.asyncio import Redis`."""

from unbusy._asyncio import (
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from unbusy._cluster import AsyncRedisCluster as RedisCluster
from unbusy._sentinel import AsyncSentinel as Sentinel
from unbusy._sentinel import AsyncSentinelConnectionPool as SentinelConnectionPool

from_url = Redis.from_url
StrictRedis = Redis

__all__ = [
    "BlockingConnectionPool",
    "Connection",
    "ConnectionPool",
    "Redis",
    "RedisCluster",
    "SSLConnection",
    "Sentinel",
    "SentinelConnectionPool",
    "StrictRedis",
    "UnixDomainSocketConnection",
    "from_url",
]
