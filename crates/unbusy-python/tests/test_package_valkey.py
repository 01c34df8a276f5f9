"""valkey-py's clients while the server is busy, as redis-py's."""

import asyncio
import subprocess
import sys
import threading
from functools import partial

import pytest
import valkey
import valkey.asyncio
from harness import SCRIPT_MS, BusyScript, Server, assert_data, wait_until
from test_asyncio import busy, held

import unbusy.valkey
import unbusy.valkey.asyncio
from unbusy import _patience

# Much less than what the script takes.
SHORT = SCRIPT_MS / 8000


@pytest.fixture
def server():
    server = Server("valkey-9.1")
    yield server
    server.stop()


def client_of(server, **options):
    return unbusy.valkey.Valkey(port=server.port, decode_responses=True, **options)


def in_a_pipeline(client):
    with client.pipeline(transaction=False) as pipe:
        assert pipe.rpush("list", 1).rpush("list", 2).execute() == [1, 2]


def in_a_transaction(client):
    with client.pipeline() as pipe:
        assert pipe.set("a", 1).incr("a").execute() == [True, 2]


def under_watch(client):
    def double(pipe):
        value = int(pipe.get("watched") or 1)
        pipe.multi()
        pipe.set("watched", value * 2)

    assert client.transaction(double, "watched") == [True]


def with_resp3(client):
    assert client.hset("hash", mapping={"a": 1}) == 1
    assert client.hgetall("hash") == {"a": "1"}


def test_commands(server):
    runs = [in_a_pipeline, in_a_transaction, under_watch]
    work = {run.__name__: partial(run, client_of(server)) for run in runs}
    work["resp3"] = partial(with_resp3, client_of(server, protocol=3))
    single = client_of(server, single_connection_client=True)
    assert isinstance(single.connection, unbusy.valkey.Connection)
    work["single"] = partial(single.incr, "n")
    pool = unbusy.valkey.BlockingConnectionPool(max_connections=1, port=server.port)
    work["pool"] = partial(unbusy.valkey.Valkey(connection_pool=pool).incr, "n")
    url = f"valkey://127.0.0.1:{server.port}/1"
    work["url"] = partial(unbusy.valkey.from_url(url, max_wait=60).set, "n", 1)
    with BusyScript(server) as script:
        script.holds_all(work)
    data = {"list": ["1", "2"], "a": "2", "watched": "2", "hash": {"a": "1"}, "n": "2"}
    assert_data(server, {(0, key): value for key, value in data.items()} | {(1, "n"): "1"})


def test_subscriptions(server):
    publisher, pubsub = client_of(server), client_of(server).pubsub()
    with BusyScript(server) as script, script.holds():
        pubsub.subscribe("a")
        assert pubsub.get_message(timeout=20)["type"] == "subscribe"
        assert publisher.publish("a", "1") == 1
    assert pubsub.get_message(timeout=20)["data"] == "1"
    assert pubsub.get_message(timeout=0.01) is None
    pubsub.close()


def test_a_time_out_does_not_strike_held_commands(server):
    client = client_of(server, socket_timeout=SHORT)
    assert client.ping()
    with BusyScript(server) as script, script.holds():
        assert client.incr("n") == 1
    with server.paused():
        threading.Timer(SCRIPT_MS / 2000, server.resume).start()
        assert client.incr("n") == 2


def test_a_server_that_is_lost_is_noticed(server, monkeypatch):
    """By the errors of valkey-py, which are not redis-py's."""
    monkeypatch.setattr(_patience, "SILENCE", 0.3)

    async def wait():
        client = unbusy.valkey.asyncio.Valkey(port=server.port, socket_timeout=0.1)
        assert await client.ping()
        with server.paused(), pytest.raises(valkey.TimeoutError):
            await client.incr("n")
        await client.aclose()

    asyncio.run(wait())
    client = client_of(server, socket_timeout=0.1)
    assert client.ping()
    with server.paused(), pytest.raises(valkey.TimeoutError):
        client.incr("n")


def test_a_connection_with_unread_data_is_not_given_away(server):
    pool = unbusy.valkey.ConnectionPool(port=server.port, max_connections=1)
    connection = pool.get_connection("INCR")
    connection.send_command("INCR", "n")
    pool.release(connection)
    wait_until("it was not executed", lambda: client_of(server).get("n") == "1")
    assert valkey.Valkey(connection_pool=pool).get("n") == b"1"


def test_no_server():
    with pytest.raises(valkey.ConnectionError, match="refused"):
        unbusy.valkey.Valkey(port=1).ping()


def test_the_budget(server):
    with pytest.raises(TypeError, match="unbusy"):
        unbusy.valkey.Valkey(connection_pool=valkey.ConnectionPool(port=server.port))
    impatient = client_of(server, max_wait=SHORT)
    with BusyScript(server), pytest.raises(valkey.ResponseError, match="busy"):
        impatient.incr("n")


def test_asyncio(server):
    async def count():
        client = unbusy.valkey.asyncio.Valkey(port=server.port, socket_timeout=SHORT, decode_responses=True)
        url = f"valkey://127.0.0.1:{server.port}/1"
        by_url = unbusy.valkey.asyncio.from_url(url, max_wait=60)

        async def in_a_transaction():
            async with client.pipeline() as pipe:
                await pipe.watch("a")
                pipe.multi()
                assert await pipe.set("a", 1).incr("a").execute() == [True, 2]

        async def subscribed():
            async with client.pubsub() as pubsub:
                await pubsub.subscribe("channel")
                assert (await pubsub.get_message(timeout=20))["type"] == "subscribe"

        assert await client.ping()
        async with busy(server) as script:
            work = [client.incr("n"), by_url.incr("n"), in_a_transaction(), subscribed()]
            await asyncio.gather(*(held(script, one) for one in work))
        await client.aclose()
        await by_url.aclose()

    asyncio.run(count())
    assert_data(server, {(0, "n"): "1", (0, "a"): "2", (1, "n"): "1"})


def test_install(server):
    async def count():
        client = valkey.asyncio.Valkey(port=server.port, socket_timeout=SHORT)
        async with busy(server) as script:
            await held(script, client.incr("n"))
        await client.aclose()

    unbusy.install()
    try:
        client = valkey.Valkey(port=server.port, socket_timeout=SHORT)
        with BusyScript(server) as script, script.holds():
            assert client.incr("n") == 1
        asyncio.run(count())
    finally:
        unbusy.uninstall()
    plain = valkey.Valkey(port=server.port)
    with BusyScript(server), pytest.raises(valkey.ResponseError, match="busy"):
        plain.incr("n")
    assert_data(server, {(0, "n"): "2"})


def test_valkey_py_is_not_needed():
    program = "import sys; sys.modules['valkey'] = None; import unbusy; unbusy.install()"
    subprocess.run([sys.executable, "-c", program], check=True)
