"""What a GET and a pipeline cost with unbusy, beside redis-py alone. Prints the ratios of interleaved rounds as Markdown.

Usage: python cost.py [ROUNDS]     with REDIS_URL naming a quiet server
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from importlib.metadata import version

import redis
import redis.asyncio
from redis.asyncio import connection as of_asyncio

import unbusy.asyncio

_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
_GETS, _PIPELINES, _COMMANDS = 2000, 60, 100
_KEY, _VALUE = "cost", b"x" * 64


def _get(client):
    return lambda: client.get(_KEY)


def _pipeline(client):
    pipeline = client.pipeline(transaction=False)

    def once():
        for _ in range(_COMMANDS):
            pipeline.get(_KEY)
        return pipeline.execute()

    return once


_WORK = {"GET": (_get, _GETS), f"pipeline of {_COMMANDS}": (_pipeline, _PIPELINES)}


class _Blocking:
    clients = {"redis-py": redis.Redis, "unbusy": unbusy.Redis}
    parsers = {"hiredis": redis.connection._HiredisParser, "python": redis.connection._RESP2Parser}

    def run(self, once) -> None:
        once()

    def times(self, once, number: int) -> list[float]:
        took = []
        for _ in range(number):
            begun = time.perf_counter()
            once()
            took.append(time.perf_counter() - begun)
        return took


class _Asyncio:
    clients = {"redis-py": redis.asyncio.Redis, "unbusy": unbusy.asyncio.Redis}
    parsers = {"hiredis": of_asyncio._AsyncHiredisParser, "python": of_asyncio._AsyncRESP2Parser}

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, once) -> None:
        self._loop.run_until_complete(once())

    def times(self, once, number: int) -> list[float]:
        async def measure() -> list[float]:
            took = []
            for _ in range(number):
                begun = time.perf_counter()
                await once()
                took.append(time.perf_counter() - begun)
            return took

        return self._loop.run_until_complete(measure())


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    server = redis.Redis.from_url(_URL).info("server")["redis_version"]
    print(f"Python {sys.version.split()[0]}, redis-py {version('redis')}, hiredis {version('hiredis')}, server {server};")
    print(f"medians of {rounds} interleaved rounds, smallest and largest ratio in brackets.\n")
    print("| client | parser | time-out | what | redis-py | unbusy | ratio |")
    print("|---|---|---|---|--:|--:|--:|")
    for name, kind in (("blocking", _Blocking()), ("asyncio", _Asyncio())):
        for parser in kind.parsers:
            for timeout, wait in ((None, "none"), (5.0, "5 s")):
                clients = _clients(kind, parser, timeout)
                for what, (work, number) in _WORK.items():
                    onces = {name: work(client) for name, client in clients.items()}
                    measured = [_round(kind, onces, number, turn) for turn in range(rounds)]
                    print(f"| {name} | {parser} | {wait} | {what} | {_figures(measured)} |", flush=True)
    return 0


def _clients(kind, parser: str, timeout: float | None) -> dict:
    options = {"protocol": 2, "socket_timeout": timeout}
    clients = {name: client.from_url(_URL, **options) for name, client in kind.clients.items()}
    for client in clients.values():
        client.connection_pool.connection_kwargs["parser_class"] = kind.parsers[parser]
        kind.run(lambda: client.set(_KEY, _VALUE))
    return clients


def _round(kind, onces: dict, number: int, turn: int) -> dict[str, float]:
    """The median time of each, in microseconds."""
    names = list(onces) if turn % 2 else list(reversed(onces))
    return {name: statistics.median(kind.times(onces[name], number)) * 1e6 for name in names}


def _figures(rounds: list[dict[str, float]]) -> str:
    ratios = [each["unbusy"] / each["redis-py"] for each in rounds]
    plain, held = (statistics.median(each[name] for each in rounds) for name in ("redis-py", "unbusy"))
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{plain:.1f} µs | {held:.1f} µs | {spread}"


if __name__ == "__main__":
    sys.exit(main())
