"""Clusters, masters that Sentinel tells of, and TLS."""

import asyncio
import shutil
import socket
import subprocess

import pytest
import redis
import unbusy
import unbusy.asyncio
from harness import NO_RETRIES, BusyScript, Server, binary, wait_until
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


@pytest.fixture
def tls_server(tmp_path):
    """Gives the server, its port for TLS, and the authority to trust."""
    openssl = shutil.which("openssl") or pytest.skip("there is no openssl to make certificates with")
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    port = free_port()
    arguments = ("--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key)
    server = Server(
        "redis-7.0", arguments=(*arguments, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
    )
    yield server, port, cert
    server.stop()


def test_tls(tls_server):
    server, port, cert = tls_server
    client = unbusy.from_url(f"rediss://localhost:{port}/2", ssl_ca_certs=cert)
    strange = unbusy.Redis(port=port, ssl=True, retry=NO_RETRIES)
    with pytest.raises(redis.ConnectionError, match="certificate"):
        strange.ping()
    with BusyScript(server) as script, script.holds():
        assert client.incr("n") == 1
    with pytest.raises(ValueError, match="certificate"):
        unbusy.Redis(port=port, ssl=True, ssl_cert_reqs="none").ping()
    with pytest.raises(ValueError, match="ssl_ciphers"):
        unbusy.Redis(port=port, ssl=True, ssl_ciphers="ALL").ping()


def test_tls_for_asyncio(tls_server):
    server, port, cert = tls_server

    async def count():
        client = unbusy.asyncio.from_url(f"rediss://localhost:{port}", ssl_ca_certs=cert)
        async with busy(server) as script:
            await held(script, client.incr("n"))
        await client.aclose()

    asyncio.run(count())
    assert server.direct.get("n") == "1"
