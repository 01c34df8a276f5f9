"""Clusters, masters that Sentinel tells of, and TLS; with redis-py and valkey-py."""

import asyncio
import shutil
import socket
import subprocess
from functools import partial

import pytest
import redis
import unbusy
import unbusy.asyncio
import unbusy.valkey
import unbusy.valkey.asyncio
import valkey
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
    of_valkey = unbusy.valkey.ValkeyCluster("127.0.0.1", cluster.port, max_wait=60)
    clients = {"one": client, "another": by_url, "valkey-py's": of_valkey}
    with BusyScript(cluster) as script:
        script.holds_all({name: partial(each.incr, "n") for name, each in clients.items()})
    with client.pipeline() as pipe:
        assert pipe.incr("n").get("n").execute() == [4, "4"]


def test_a_cluster_that_is_busy_from_the_start(cluster):
    with BusyScript(cluster) as script, script.holds():
        assert unbusy.RedisCluster("127.0.0.1", cluster.port).incr("n") == 1


def test_a_cluster_for_asyncio(cluster):
    async def count():
        client = unbusy.asyncio.RedisCluster("127.0.0.1", cluster.port, max_wait=60)
        of_valkey = unbusy.valkey.asyncio.ValkeyCluster("127.0.0.1", cluster.port, max_wait=60)
        async with busy(cluster) as script:
            work = [client.incr("n"), client.incr("m"), of_valkey.incr("n")]
            await asyncio.gather(*(held(script, one) for one in work))
        await client.aclose()
        await of_valkey.aclose()

    asyncio.run(count())
    assert cluster.direct.get("n") == "2"


def test_sentinel(one_server, sentinel):
    kinds = [unbusy.Sentinel, unbusy.valkey.Sentinel]
    clients = [kind([("127.0.0.1", sentinel)]).master_for("main", max_wait=60) for kind in kinds]
    assert [type(client) for client in clients] == [unbusy.Redis, unbusy.valkey.Valkey]
    assert all(client.ping() for client in clients)
    with BusyScript(one_server) as script:
        script.holds_all({str(n): partial(client.incr, "n") for n, client in enumerate(clients)})


def test_sentinel_for_asyncio(one_server, sentinel):
    async def count():
        kinds = [unbusy.asyncio.Sentinel, unbusy.valkey.asyncio.Sentinel]
        clients = [kind([("127.0.0.1", sentinel)]).master_for("main") for kind in kinds]
        for client in clients:
            assert await client.ping()
        async with busy(one_server) as script:
            await asyncio.gather(*(held(script, client.incr("n")) for client in clients))
        for client in clients:
            await client.aclose()

    asyncio.run(count())
    assert one_server.direct.get("n") == "2"


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
    of_valkey = unbusy.valkey.from_url(f"valkeys://localhost:{port}/2", ssl_ca_certs=cert)
    with pytest.raises(redis.ConnectionError, match="certificate"):
        unbusy.Redis(port=port, ssl=True, retry=NO_RETRIES).ping()
    with pytest.raises(valkey.ConnectionError, match="certificate"):
        unbusy.valkey.Valkey(port=port, ssl=True).ping()
    with BusyScript(server) as script:
        script.holds_all({"redis-py": partial(client.incr, "n"), "valkey-py": partial(of_valkey.incr, "n")})
    for kind in (unbusy.Redis, unbusy.valkey.Valkey):
        with pytest.raises(ValueError, match="certificate"):
            kind(port=port, ssl=True, ssl_cert_reqs="none").ping()
        with pytest.raises(ValueError, match="ssl_validate_ocsp"):
            kind(port=port, ssl=True, ssl_validate_ocsp=True).ping()


def test_tls_for_asyncio(tls_server):
    server, port, cert = tls_server

    async def count():
        client = unbusy.asyncio.from_url(f"rediss://localhost:{port}", ssl_ca_certs=cert)
        of_valkey = unbusy.valkey.asyncio.from_url(f"valkeys://localhost:{port}", ssl_ca_certs=cert)
        with pytest.raises(valkey.ConnectionError, match="certificate"):
            await unbusy.valkey.asyncio.Valkey(port=port, ssl=True).ping()
        async with busy(server) as script:
            await asyncio.gather(held(script, client.incr("n")), held(script, of_valkey.incr("n")))
        await client.aclose()
        await of_valkey.aclose()

    asyncio.run(count())
    assert server.direct.get("n") == "2"
