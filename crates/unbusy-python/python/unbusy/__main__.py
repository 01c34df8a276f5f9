"""`python -m unbusy demo`: what unbusy does, on a server that is started for it."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator

import redis

import unbusy

_SECONDS = 3.0
_SPIN = """
local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local stop = now() + ARGV[1] * 1000000
while now() < stop do end
return 1
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m unbusy", description="redis-py without BUSY.")
    commands = parser.add_subparsers(required=True)
    demo = commands.add_parser(
        "demo",
        help="show what unbusy does, on a server that is started for it",
        description="Starts a server, lets a script block it for some seconds, and counts with redis.Redis and unbusy.Redis.",
        epilog="Example: python -m unbusy demo --server /usr/local/bin/valkey-server",
    )
    demo.add_argument("--server", help="the server's program; else the redis-server or valkey-server on PATH")
    given = parser.parse_args().server
    program = given or shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        print(
            "no redis-server or valkey-server on PATH; name one, like --server /usr/local/bin/valkey-server"
        )
        return 2
    with _server(program) as port:
        return 0 if _show(port) else 1


@contextlib.contextmanager
def _server(program: str) -> Generator[int, None, None]:
    """A server of our own, which calls itself busy after half a second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="unbusy-") as folder:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        server = subprocess.Popen([*command, "--lua-time-limit", "500"], stdout=subprocess.DEVNULL)
        try:
            _await(redis.Redis(port=port), server)
            yield port
        finally:
            server.kill()
            server.wait()


def _await(client: redis.Redis, server: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        with contextlib.suppress(redis.ConnectionError):
            client.ping()
            return
        if server.poll() is not None:
            break
        time.sleep(0.02)
    sys.exit("the server does not start; it says why when you run it by hand")


def _show(port: int) -> bool:
    clients = {"redis.Redis": redis.Redis(port=port), "unbusy.Redis": unbusy.Redis(port=port)}
    for client in clients.values():
        client.ping()
    print(f"A script blocks the server for {_SECONDS:.0f} seconds; meanwhile each client counts.", flush=True)
    script = threading.Thread(
        target=redis.Redis(port=port, socket_timeout=60).eval, args=(_SPIN, 0, _SECONDS)
    )
    script.start()
    time.sleep(1)
    begun = time.monotonic()
    outcomes = {name: _outcome(client, begun, name) for name, client in clients.items()}
    script.join()
    return outcomes == {"redis.Redis": False, "unbusy.Redis": True}


def _outcome(client: redis.Redis, begun: float, name: str) -> bool:
    try:
        outcome, succeeded = repr(client.incr("visits")), True
    except redis.ResponseError as error:
        outcome, succeeded = f"{type(error).__name__}: {error}", False
    print(f"{name:>12}: {outcome} after {time.monotonic() - begun:.1f} s", flush=True)
    return succeeded


if __name__ == "__main__":
    sys.exit(main())
