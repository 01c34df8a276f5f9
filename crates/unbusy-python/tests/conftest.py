"""The servers and scripts are those of the scenarios in tests/python, where the proxy is tried."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests" / "python"))

import pytest
from harness import SERVERS, Server, cached_servers

for variable, path in cached_servers().items():
    if os.path.exists(path):
        os.environ.setdefault(variable, path)


@pytest.fixture(params=SERVERS)
def server(request):
    server = Server(request.param)
    yield server
    server.stop()


@pytest.fixture
def one_server():
    """Where the version cannot matter."""
    server = Server("redis-7.0")
    yield server
    server.stop()
