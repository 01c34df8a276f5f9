import os

import pytest

from harness import SERVERS, Proxy, Server, cached_servers

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


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param
