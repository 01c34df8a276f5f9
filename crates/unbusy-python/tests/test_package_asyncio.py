"""`unbusy.asyncio.Redis` while the server is busy: no errors, and the data of one run."""

import asyncio
import time

import pytest
import redis
import redis.asyncio
import test_asyncio as scenarios
from harness import SCRIPT_MS, BusyScript, assert_data, data_of_one_run
from test_asyncio import NO_RETRIES, busy, held
from test_sync import LIBRARY

import unbusy.asyncio
from unbusy import _patience


def client_of(server, **options):
    return unbusy.asyncio.Redis(
        port=server.port, **({"decode_responses": True, "retry": NO_RETRIES} | options)
    )


def test_scenarios(server):
    runs = list(scenarios.SCENARIOS)
    if server.has_functions:
        server.direct.function_load(LIBRARY)
        runs.append(scenarios.functions)

    async def one_run():
        async with scenarios.client_of(server.port) as direct:
            for run in runs:
                await run(direct)

    async def while_busy():
        clients = [client_of(server) for _ in runs]
        connections = {await client.client_id() for client in clients}
        async with busy(server) as script:
            await asyncio.gather(*(held(script, run(client)) for run, client in zip(runs, clients)))
        assert connections <= server.connections(), "a connection was replaced"
        for client in clients:
            await client.aclose()

    expected = data_of_one_run(server, lambda: asyncio.run(one_run()))
    asyncio.run(while_busy())
    assert_data(server, expected)


def test_new_connections(server):
    async def connect_while_busy():
        url = f"redis://127.0.0.1:{server.port}"
        clients = [unbusy.asyncio.from_url(f"{url}/{db}", client_name="tester") for db in range(8)]
        async with busy(server) as script:
            await asyncio.gather(*(held(script, client.incr("k")) for client in clients))
        for client in clients:
            assert await client.client_getname() == "tester"
            await client.aclose()

    asyncio.run(connect_while_busy())
    assert_data(server, {(db, "k"): "1" for db in range(8)})


def test_subscriptions(server):
    async def subscribe_while_busy():
        publisher = client_of(server)
        async with client_of(server).pubsub() as pubsub, busy(server) as script:
            with script.holds():
                await pubsub.subscribe("a")
                await scenarios.next_message(pubsub, "subscribe")
                assert await publisher.publish("a", "1") == 1
                assert (await scenarios.next_message(pubsub, "message"))["data"] == "1"
        await publisher.aclose()

    asyncio.run(subscribe_while_busy())


def test_a_time_out_does_not_strike_held_commands(server):
    """The client tries again as redis-py does by default."""

    async def wait():
        client = unbusy.asyncio.Redis(port=server.port, socket_timeout=SCRIPT_MS / 8000)
        big = client.set("big", "x" * 20_000_000)
        async with busy(server) as script:
            with script.holds():
                assert await asyncio.gather(client.incr("n"), big) == [1, True]
        with server.paused():
            asyncio.get_running_loop().call_later(SCRIPT_MS / 2000, server.resume)
            assert await client.incr("n") == 2
        await client.aclose()

    asyncio.run(wait())
    assert server.direct.get("n") == "2"


def test_a_server_that_is_lost_is_noticed(one_server, monkeypatch):
    monkeypatch.setattr(_patience, "SILENCE", 0.5)

    async def wait():
        client = client_of(one_server, socket_timeout=0.1, socket_connect_timeout=10)
        assert await client.ping()
        with one_server.paused():
            begun = time.monotonic()
            with pytest.raises(redis.TimeoutError):
                await client.incr("n")
            assert 0.5 <= time.monotonic() - begun < 2
        assert await client.incr("n") >= 1
        await client.aclose()

    asyncio.run(wait())


def test_a_cancelled_command_is_not_executed(one_server):
    async def cancel():
        client = client_of(one_server)
        assert await client.ping()
        async with busy(one_server):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.incr("n"), 0.2)
        assert await client.get("n") is None
        await client.aclose()

    asyncio.run(cancel())


def test_no_server():
    async def connect():
        # redis-py 5.0 tells the number only.
        with pytest.raises(redis.ConnectionError, match="refused|111"):
            await unbusy.asyncio.Redis(port=1, retry=NO_RETRIES).ping()

    asyncio.run(connect())


def test_install(one_server):
    async def count():
        client = redis.asyncio.Redis(port=one_server.port, socket_timeout=SCRIPT_MS / 8000)
        assert await client.ping()
        async with busy(one_server) as script:
            with script.holds():
                assert await client.incr("n") == 1
        await client.aclose()

    unbusy.install()
    try:
        asyncio.run(count())
    finally:
        unbusy.uninstall()


def test_threads_each_with_a_loop(one_server):
    """The engine is shared; nothing of it belongs to a loop."""

    async def count():
        client = client_of(one_server)
        for _ in range(20):
            await client.incr("n")
        await client.aclose()

    with BusyScript(one_server) as script:
        script.holds_all({str(n): lambda: asyncio.run(count()) for n in range(5)})
    assert_data(one_server, {(0, "n"): "100"})
