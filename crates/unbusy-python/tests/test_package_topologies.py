"""Clusters, and masters that Sentinel tells of."""

import asyncio
import socket
import subprocess

import pytest
import redis
import unbusy
import unbusy.asyncio
from harness import BusyScript, Server, binary, wait_until
from test_asyncio import busy, held


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def cluster():
    server = Server("redis-7.0", arguments=("--cluster-enabled", "yes", "--cluster-port", str(free_port())))
    server.direct.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    wait_until("the cluster is there", lambda: server.direct.cluster("INFO")["cluster_state"] == "ok")
    yield server
    server.stop()


@pytest.fixture
def sentinel(one_server, tmp_path):
    """Gives the port of a Sentinel that knows the server as `main`."""
    port = free_port()
    file = tmp_path / "sentinel.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {one_server.port} 1\n")
    command = [binary("UNBUSY_TEST_REDIS_7_0"), str(file), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until("Sentinel answers", lambda: is_there(port))
        yield port
    finally:
        process.kill()
        process.wait()


def is_there(port):
    try:
        return redis.Redis(port=port).ping()
    except redis.ConnectionError:
        return False


def test_a_cluster(cluster):
    client = unbusy.RedisCluster("127.0.0.1", cluster.port, decode_responses=True, max_wait=60)
    by_url = unbusy.RedisCluster.from_url(f"redis://127.0.0.1:{cluster.port}")
    with BusyScript(cluster) as script:
        script.holds_all({"one": lambda: client.incr("n"), "another": lambda: by_url.incr("n")})
    with client.pipeline() as pipe:
        assert pipe.incr("n").get("n").execute() == [3, "3"]


def test_a_cluster_that_is_busy_from_the_start(cluster):
    with BusyScript(cluster) as script, script.holds():
        assert unbusy.RedisCluster("127.0.0.1", cluster.port).incr("n") == 1


def test_a_cluster_for_asyncio(cluster):
    async def count():
        client = unbusy.asyncio.RedisCluster("127.0.0.1", cluster.port, max_wait=60)
        async with busy(cluster) as script:
            await asyncio.gather(held(script, client.incr("n")), held(script, client.incr("m")))
        await client.aclose()

    asyncio.run(count())
    assert cluster.direct.get("n") == "1"


def test_sentinel(one_server, sentinel):
    client = unbusy.Sentinel([("127.0.0.1", sentinel)]).master_for("main", max_wait=60)
    assert client.ping()
    with BusyScript(one_server) as script, script.holds():
        assert client.incr("n") == 1


def test_sentinel_for_asyncio(one_server, sentinel):
    async def count():
        client = unbusy.asyncio.Sentinel([("127.0.0.1", sentinel)]).master_for("main")
        assert await client.ping()
        async with busy(one_server) as script:
            await held(script, client.incr("n"))
        await client.aclose()

    asyncio.run(count())
    assert one_server.direct.get("n") == "1"
