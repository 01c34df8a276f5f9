"""The dashboard in a headless Chromium, with the servers and scripts of the scenarios in tests/python."""

import os
import shutil
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import pytest
from harness import Proxy, Server, cached_servers
from playwright.sync_api import sync_playwright

for variable, path in cached_servers().items():
    if os.path.exists(path):
        os.environ.setdefault(variable, path)

CHROMIUM = os.environ.get("UNBUSY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
# Of what the browser itself reports when the proxy is not there, which is what some tests are about.
UNREACHABLE = ("Failed to load resource: net::ERR_", "Failed to load resource: the server responded with a status of 503")


@pytest.fixture(scope="session")
def browser():
    assert CHROMIUM, "there is no chromium: install it, or name it in UNBUSY_CHROMIUM"
    with sync_playwright() as playwright:
        # Its sandbox does not work for root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.getuid() != 0)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens pages of some kind, and sees to it afterwards that none had anything to complain about."""
    contexts, complaints = [], []

    def complain(message) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(UNREACHABLE):
            complaints.append(message.text)

    def open_page(**kind):
        contexts.append(browser.new_context(**kind))
        page = contexts[-1].new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def server():
    server = Server("redis-7.0")
    yield server
    server.stop()


class Watched(Proxy):
    """A proxy with an admin endpoint, which is at the same address when it is started anew."""

    def __init__(self, server: Server, port: int | None = None) -> None:
        self._server = server
        self.admin = port or free_port()
        super().__init__(server, "--admin", f"127.0.0.1:{self.admin}", "--max-wait", "30s")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin}/"

    def another(self) -> "Watched":
        return Watched(self._server, self.admin)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def proxy(server):
    proxy = Watched(server)
    yield proxy
    proxy.stop()
