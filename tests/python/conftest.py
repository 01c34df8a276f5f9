import os

import pytest

from harness import PASSWORD, SERVERS, Proxy, Server, cached_servers

for variable, path in cached_servers().items():
    if os.path.exists(path):
        os.environ.setdefault(variable, path)


@pytest.fixture(params=SERVERS)
def server(request):
    server = Server(request.param)
    yield server
    server.stop()


@pytest.fixture
def proxy(server):
    proxy = Proxy(server)
    yield proxy
    proxy.stop()


@pytest.fixture(params=SERVERS)
def guarded_server(request):
    """Wants a login, which the proxy in front of it has none of its own for."""
    server = Server(request.param, password=PASSWORD)
    server.direct.acl_setuser("app", enabled=True, passwords=[f"+{PASSWORD}"], keys="*", commands=["+@all"])
    yield server
    server.stop()


@pytest.fixture
def guarded_proxy(guarded_server):
    proxy = Proxy(guarded_server)
    yield proxy
    proxy.stop()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param
