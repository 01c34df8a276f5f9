"""Servers and clients as they are if nobody tells them anything else: both are patient for five seconds."""

import asyncio
import contextlib
import threading

import pytest
import redis
from harness import SERVERS, SPIN, Server, assert_data, wait_until

import unbusy.asyncio

# Longer than a server is silent before it answers BUSY, and than redis-py (8) waits for an answer.
SCRIPT_MS = 8000


@pytest.fixture(params=SERVERS)
def server(request):
    server = Server(request.param, threshold_ms=None)
    yield server
    server.stop()


def test_a_script_of_eight_seconds(server):
    """Each client counts once, on a connection that it has or that it has to make: it is told 1, and 1 it is."""
    blocking = [unbusy.Redis("127.0.0.1", server.port) for _ in range(2)]
    others = [unbusy.asyncio.Redis(host="127.0.0.1", port=server.port) for _ in range(2)]

    async def count():
        connections = {blocking[0].client_id(), await others[0].client_id()}
        with blocked(server):
            work = [asyncio.to_thread(client.incr, f"blocking:{n}") for n, client in enumerate(blocking)]
            work += [client.incr(f"asyncio:{n}") for n, client in enumerate(others)]
            assert await asyncio.gather(*work) == [1, 1, 1, 1]
        assert connections <= server.connections(), "a connection was replaced"
        for client in others:
            await client.aclose()

    asyncio.run(count())
    assert server.rejections(), "the server was never busy"
    assert_data(server, {(0, f"{kind}:{n}"): "1" for kind in ("blocking", "asyncio") for n in range(2)})


@contextlib.contextmanager
def blocked(server):
    """A script runs from before the block's begin until its end, or longer."""
    client = server.client(socket_timeout=60)
    script = threading.Thread(target=client.eval, args=(SPIN, 0, SCRIPT_MS))
    script.start()
    wait_until("the script runs", lambda: is_silent(server))
    try:
        yield
    finally:
        script.join()


def is_silent(server):
    with server.client(socket_timeout=0.1) as client:
        try:
            return not client.ping()
        except redis.TimeoutError:
            return True
