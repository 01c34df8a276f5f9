"""redis-py for asyncio, unchanged, through the proxy while the server is busy."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import redis
import redis.asyncio as aredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from harness import (
    LOGINS,
    PATIENCE,
    SCRIPT_MS,
    UNTIL_KILLED,
    BusyScript,
    Proxy,
    Server,
    assert_data,
    data_of_one_run,
    wait_until,
)
from test_sync import COUNT, LIBRARY, protocol_in, very_big_value

# As in the harness; asyncio has a class of its own.
NO_RETRIES = Retry(NoBackoff(), 0)


@asynccontextmanager
async def busy(server: Server, millis: int = SCRIPT_MS):
    """A busy server for the block; the event loop goes on."""
    script = BusyScript(server, millis)
    await asyncio.to_thread(script.__enter__)
    try:
        yield script
    except BaseException as error:
        await asyncio.to_thread(script.__exit__, type(error))
        raise
    await asyncio.to_thread(script.__exit__, None)


async def held(script: BusyScript, work) -> None:
    with script.holds():
        await work


def client_of(port: int, **options) -> aredis.Redis:
    return aredis.Redis(port=port, **({"decode_responses": True, "retry": NO_RETRIES} | options))


async def single_commands(r: aredis.Redis) -> None:
    assert await r.set("single", "value")
    assert await r.get("single") == "value"
    assert [await r.incr("single:n") for _ in range(COUNT)] == list(range(1, COUNT + 1))
    assert await r.hset("single:hash", mapping={"f": 1, "g": 2}) == 2


async def gathered(r: aredis.Redis) -> None:
    """Many tasks share a client, which opens as many connections as it likes."""
    counted = await asyncio.gather(*(r.incr("gathered") for _ in range(20)))
    assert sorted(counted) == list(range(1, 21))


async def pipeline(r: aredis.Redis) -> None:
    async with r.pipeline(transaction=False) as pipe:
        for n in range(COUNT):
            pipe.incr("pipeline").rpush("pipeline:list", n)
        replies = await pipe.execute()
    assert replies[::2] == replies[1::2] == list(range(1, COUNT + 1))


async def transaction(r: aredis.Redis) -> None:
    async with r.pipeline() as pipe:
        for n in range(COUNT):
            pipe.incr("transaction").rpush("transaction:list", n)
        replies = await pipe.execute()
    assert replies[::2] == replies[1::2] == list(range(1, COUNT + 1))


async def watch(r: aredis.Redis) -> None:
    async def double(pipe) -> None:
        value = int(await pipe.get("watch") or 1)
        pipe.multi()
        pipe.set("watch", 2 * value)

    for _ in range(5):
        assert await r.transaction(double, "watch") == [True]
    assert await r.get("watch") == "32"


async def scripts(r: aredis.Redis) -> None:
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [await add(keys=["script"], args=[n]) for n in (1, 2, 3)] == [1, 3, 6]


async def functions(r: aredis.Redis) -> None:
    assert [await r.fcall("add", 1, "function", n) for n in (1, 2, 3)] == [1, 3, 6]


async def administration(r: aredis.Redis) -> None:
    assert (await r.info())["role"] == "master"
    assert await r.client_id() > 0
    assert await r.ping()


async def iteration(r: aredis.Redis) -> None:
    keys = {f"scanned:{n}" for n in range(500)}
    assert await r.mset(dict.fromkeys(keys, ""))
    assert {key async for key in r.scan_iter("scanned:*")} == keys


async def lock(r: aredis.Redis) -> None:
    for _ in range(3):
        async with r.lock("lock", timeout=PATIENCE, blocking_timeout=PATIENCE):
            await r.incr("locked")


async def blocking_commands(r: aredis.Redis) -> None:
    assert await r.rpush("blocking", "x", "y") == 2
    assert (await r.blpop("blocking", timeout=PATIENCE))[1] == "x"
    assert await r.xadd("blocking:stream", {"f": "v"}, id="1-1") == "1-1"
    assert await r.xread({"blocking:stream": "0"}, block=int(PATIENCE * 1000))


async def big_values(r: aredis.Redis) -> None:
    value = "x" * 5_000_000
    assert await r.set("big", value)
    assert await r.get("big") == value


SCENARIOS = [
    single_commands,
    gathered,
    pipeline,
    transaction,
    watch,
    scripts,
    administration,
    iteration,
    lock,
    blocking_commands,
    big_values,
]


def test_scenarios(server: Server, proxy: Proxy, protocol: int) -> None:
    scenarios = list(SCENARIOS)
    if server.has_functions:
        server.direct.function_load(LIBRARY)
        scenarios.append(functions)

    async def one_run() -> None:
        async with client_of(server.port) as direct:
            for scenario in scenarios:
                await scenario(direct)

    async def while_busy() -> None:
        clients = [client_of(proxy.port, protocol=protocol) for _ in scenarios]
        connections = {await client.client_id() for client in clients}
        async with busy(server) as script:
            work = [scenario(client) for scenario, client in zip(scenarios, clients)]
            await asyncio.gather(*(held(script, scenario) for scenario in work))
        assert connections <= server.connections(), "a connection was replaced"
        for client in clients:
            await client.aclose()

    expected = data_of_one_run(server, lambda: asyncio.run(one_run()))
    asyncio.run(while_busy())
    assert_data(server, expected)


def test_new_connections(server: Server, proxy: Proxy, protocol: int) -> None:
    async def connect_while_busy() -> None:
        options = {"client_name": "tester", "protocol": protocol}
        clients = [client_of(proxy.port, db=db, **options) for db in range(8) for _ in range(2)]
        async with busy(server) as script:
            await asyncio.gather(*(held(script, client.incr("k")) for client in clients))
        for client in clients:
            assert await client.client_getname() == "tester"
            await client.aclose()

    asyncio.run(connect_while_busy())
    assert_data(server, {(db, "k"): "2" for db in range(8)})


def test_new_connections_with_everything_at_once(
    guarded_server: Server, guarded_proxy: Proxy, protocol: int
) -> None:
    """A login, a protocol, a name and a database, all asked for while the server is busy."""

    async def connect_while_busy() -> None:
        options = {"protocol": protocol, "client_name": "tester", "db": 1}
        logins = [(user, login) for user, login in LOGINS.items() for _ in range(2)]
        clients = [(user, client_of(guarded_proxy.port, **options, **login)) for user, login in logins]
        async with busy(guarded_server) as script:
            await asyncio.gather(*(held(script, client.incr("k")) for _, client in clients))
        for user, client in clients:
            assert (await client.acl_whoami(), await client.client_getname()) == (user, "tester")
            assert protocol_in(await client.execute_command("HELLO")) == protocol
            await client.aclose()

    asyncio.run(connect_while_busy())
    assert_data(guarded_server, {(1, "k"): "4"})


def test_a_lost_race(server: Server, proxy: Proxy) -> None:
    async def race() -> bool:
        async with client_of(proxy.port) as client, client.pipeline() as pipe:
            await pipe.watch("k")
            assert await pipe.get("k") == "1"
            server.direct.set("k", 100)
            pipe.multi()
            pipe.set("k", 2)
            async with busy(server):
                try:
                    await pipe.execute()
                except redis.WatchError:
                    return True
        return False

    server.direct.set("k", 1)
    assert asyncio.run(race()), "the transaction was committed"
    assert_data(server, {(0, "k"): "100"})


async def next_message(pubsub, kind: str) -> dict:
    async with asyncio.timeout(PATIENCE):
        while (message := await pubsub.get_message(timeout=1)) is None:
            pass
    assert message["type"] == kind, message
    return message


def test_subscriptions(server: Server, proxy: Proxy, protocol: int) -> None:
    async def subscribe_while_busy() -> None:
        publisher = client_of(proxy.port, protocol=protocol)
        async with client_of(proxy.port, protocol=protocol).pubsub() as pubsub:
            async with busy(server) as script:
                with script.holds():
                    await pubsub.subscribe("a", "b")
                    await pubsub.psubscribe("p*")
                    for kind in ("subscribe", "subscribe", "psubscribe"):
                        await next_message(pubsub, kind)
            async with busy(server) as script:
                with script.holds():
                    assert await publisher.publish("b", "1") == 1
                    assert await publisher.publish("pattern", "2") == 1
                    assert (await next_message(pubsub, "message"))["data"] == "1"
                    assert (await next_message(pubsub, "pmessage"))["data"] == "2"
        await publisher.aclose()

    asyncio.run(subscribe_while_busy())
    assert_data(server, {})


def test_sharded_subscriptions(server: Server, proxy: Proxy, protocol: int) -> None:
    if not server.has_functions:
        pytest.skip("sharded channels came with Redis 7.0")

    async def subscribe_while_busy() -> None:
        publisher = client_of(proxy.port, protocol=protocol)
        async with client_of(proxy.port, protocol=protocol).pubsub() as pubsub:
            async with busy(server) as script:
                with script.holds():
                    await pubsub.ssubscribe("shard")
                    assert (await next_message(pubsub, "ssubscribe"))["channel"] == "shard"
            async with busy(server) as script:
                with script.holds():
                    assert await publisher.spublish("shard", "x") == 1
                    assert (await next_message(pubsub, "smessage"))["data"] == "x"
            async with busy(server) as script:
                with script.holds():
                    await pubsub.sunsubscribe("shard")
                    assert (await next_message(pubsub, "sunsubscribe"))["channel"] == "shard"
            assert await publisher.spublish("shard", "y") == 0
        await publisher.aclose()

    asyncio.run(subscribe_while_busy())
    assert_data(server, {})


def test_a_shared_pool(server: Server, proxy: Proxy) -> None:
    tasks, each = 20, 50

    async def work(client: aredis.Redis, n: int) -> None:
        for i in range(each):
            await client.incr("counter")
            async with client.pipeline(transaction=i % 2 == 0) as pipe:
                await pipe.rpush(f"list:{n}", i).incr("pipelined").execute()

    async def all_tasks() -> None:
        options = {"max_connections": 10, "timeout": PATIENCE, "retry": NO_RETRIES}
        pool = aredis.BlockingConnectionPool(port=proxy.port, **options)
        client = aredis.Redis(connection_pool=pool)
        async with busy(server) as script:
            await asyncio.gather(*(held(script, work(client, n)) for n in range(tasks)))
        await pool.disconnect()

    asyncio.run(all_tasks())
    expected = {(0, f"list:{n}"): [str(i) for i in range(each)] for n in range(tasks)}
    expected |= {(0, "counter"): str(tasks * each), (0, "pipelined"): str(tasks * each)}
    assert_data(server, expected)


def test_a_very_big_value(server: Server, proxy: Proxy) -> None:
    value = very_big_value()

    async def there_and_back() -> None:
        first = client_of(proxy.port, socket_timeout=PATIENCE)
        second = client_of(proxy.port, socket_timeout=PATIENCE, decode_responses=False)
        assert await first.ping() and await second.ping()
        async with busy(server, UNTIL_KILLED) as script:
            held = [asyncio.create_task(first.incr("n"))]
            await asyncio.to_thread(proxy.wait_log, "commands are held")
            held.append(asyncio.create_task(second.set("big", value)))
            await asyncio.to_thread(wait_until, "the proxy has it", lambda: proxy.memory() > len(value))
            assert not any(answer.done() for answer in held), "answered while the script ran"
            await asyncio.to_thread(script.kill)
            assert await asyncio.gather(*held) == [1, True]
        async with busy(server) as script:
            with script.holds():
                assert await second.get("big") == value
        await first.aclose()
        await second.aclose()

    asyncio.run(there_and_back())
    assert_data(server, {(0, "big"): value.decode("latin-1"), (0, "n"): "1"})
