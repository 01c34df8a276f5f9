"""What a GET and a pipeline cost with unbusy, beside redis-py alone. Prints the ratios of interleaved rounds as Markdown.

Usage: python cost.py [ROUNDS]     with REDIS_URL naming a quiet server
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from importlib.metadata import version

import redis

import unbusy

_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
_GETS, _PIPELINES, _COMMANDS = 2000, 60, 100
_KEY, _VALUE = "cost", b"x" * 64


def _gets(client: redis.Redis) -> float:
    """The median time of a GET, in microseconds."""
    return _median(lambda: client.get(_KEY), _GETS)


def _pipelines(client: redis.Redis) -> float:
    """The median time of a pipeline, in microseconds."""
    pipeline = client.pipeline(transaction=False)

    def once() -> None:
        for _ in range(_COMMANDS):
            pipeline.get(_KEY)
        pipeline.execute()

    return _median(once, _PIPELINES)


def _median(once, times: int) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        once()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def _clients(parser: str, timeout: float | None) -> dict[str, redis.Redis]:
    from redis import connection

    chosen = getattr(connection, "_HiredisParser" if parser == "hiredis" else "_RESP2Parser")
    kinds = {"redis-py": redis.Redis, "unbusy": unbusy.Redis}
    clients = {name: kind.from_url(_URL, protocol=2, socket_timeout=timeout) for name, kind in kinds.items()}
    for client in clients.values():
        client.connection_pool.connection_kwargs["parser_class"] = chosen
        client.set(_KEY, _VALUE)
    return clients


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    server = redis.Redis.from_url(_URL).info("server")["redis_version"]
    print(f"Python {sys.version.split()[0]}, redis-py {version('redis')}, hiredis {version('hiredis')}, server {server};")
    print(f"medians of {rounds} interleaved rounds, smallest and largest ratio in brackets.\n")
    print("| parser | time-out | what | redis-py | unbusy | ratio |")
    print("|---|---|---|--:|--:|--:|")
    for parser in ("hiredis", "python"):
        for timeout in (None, 5.0):
            clients = _clients(parser, timeout)
            for what, measure in (("GET", _gets), (f"pipeline of {_COMMANDS}", _pipelines)):
                _row(parser, timeout, what, [_round(clients, measure, turn) for turn in range(rounds)])
    return 0


def _round(clients: dict[str, redis.Redis], measure, turn: int) -> dict[str, float]:
    names = list(clients) if turn % 2 else list(reversed(clients))
    return {name: measure(clients[name]) for name in names}


def _row(parser: str, timeout: float | None, what: str, rounds: list[dict[str, float]]) -> None:
    ratios = [each["unbusy"] / each["redis-py"] for each in rounds]
    plain, held = (statistics.median(each[name] for each in rounds) for name in ("redis-py", "unbusy"))
    wait = "none" if timeout is None else f"{timeout:.0f} s"
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"| {parser} | {wait} | {what} | {plain:.1f} µs | {held:.1f} µs | {spread} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
