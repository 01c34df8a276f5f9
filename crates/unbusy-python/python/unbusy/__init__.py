"""redis-py without BUSY: while a script blocks the server, commands wait instead of failing.

    import unbusy
    r = unbusy.Redis()          # was: redis.Redis()

Everything else is as in redis-py. `unbusy.asyncio` has the asynchronous classes.
"""

from unbusy import _main_only as _main_only
from unbusy._cluster import RedisCluster
from unbusy._install import install, uninstall
from unbusy._sentinel import Sentinel, SentinelConnectionPool
from unbusy._sync import (
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)

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
    "install",
    "uninstall",
]
