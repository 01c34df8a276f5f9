"""What programs write, for type checkers: each has to accept the package without being told more. It is not run."""

from __future__ import annotations

import redis
import redis.asyncio
import valkey
import valkey.asyncio

import unbusy
import unbusy.asyncio
import unbusy.valkey
import unbusy.valkey.asyncio

client: redis.Redis = unbusy.Redis(host="localhost", decode_responses=True, max_wait=60)
by_url: unbusy.Redis = unbusy.from_url("redis://localhost", hold="busy,loading")
pool: redis.ConnectionPool = unbusy.BlockingConnectionPool.from_url("redis://localhost", timeout=5)
pooled: redis.Redis = unbusy.Redis(connection_pool=pool)
plain: redis.Redis = redis.Redis(connection_pool=redis.ConnectionPool(connection_class=unbusy.Connection))
cluster: redis.RedisCluster = unbusy.RedisCluster("localhost", on_busy=lambda: print("busy"))
master: redis.Redis = unbusy.Sentinel([("localhost", 26379)]).master_for("main")

a_valkey: valkey.Valkey = unbusy.valkey.Valkey(max_wait=60)
a_pool: valkey.ConnectionPool = unbusy.valkey.ConnectionPool.from_url("valkey://localhost")
a_cluster: valkey.ValkeyCluster = unbusy.valkey.ValkeyCluster("localhost")


def count(counter: redis.Redis) -> None:
    with counter.pipeline() as pipe:
        pipe.incr("n")
        pipe.execute()


async def count_in_turn() -> None:
    counter: redis.asyncio.Redis = unbusy.asyncio.Redis(max_wait=60)
    named: unbusy.asyncio.Redis = unbusy.asyncio.from_url("redis://localhost")
    another: valkey.asyncio.Valkey = unbusy.valkey.asyncio.from_url("valkey://localhost")
    for each in (counter, named):
        async with each.pipeline() as pipe:
            pipe.incr("n")
            await pipe.execute()
    await another.aclose()


unbusy.install(max_wait=30)
count(client)
count(by_url)
unbusy.uninstall()
