"""Servers, the proxy, and scripts that make a server busy."""

from __future__ import annotations

import contextlib
import os
import reprlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

THRESHOLD_MS = 100
SCRIPT_MS = 1000
PATIENCE = 20.0
UNTIL_KILLED = int(PATIENCE * 1000)
PASSWORD = "secret"

# As whom a client of a server with a password can log in.
LOGINS = {"default": {"password": PASSWORD}, "app": {"username": "app", "password": PASSWORD}}

# The variable that names each server's binary, and the name of its threshold.
SERVERS = {
    "redis-6.2": ("UNBUSY_TEST_REDIS_6_2", "lua-time-limit"),
    "redis-7.0": ("UNBUSY_TEST_REDIS_7_0", "busy-reply-threshold"),
    "valkey-9.1": ("UNBUSY_TEST_VALKEY_9_1", "busy-reply-threshold"),
}

# What else than the usual few (AUTH, HELLO, MULTI …) a server answers while a script runs.
ALLOWED_WHILE_BUSY = {"valkey-9.1": frozenset({"CLIENT ID", "CLIENT SETNAME"})}

# redis-py tries again by itself when a connection breaks, which would hide that one did.
NO_RETRIES = Retry(NoBackoff(), 0)

SPIN = """
local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end
local stop = now() + ARGV[1] * 1000
while now() < stop do end
return 1
"""


def binary(variable: str) -> str:
    path = os.environ.get(variable)
    if not path or not shutil.which(path):
        raise RuntimeError(f"set {variable} to the binary to test with; `cargo xtask test` does that")
    return path


def wait_until(what: str, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


def client_of(port: int, **options) -> redis.Redis:
    return redis.Redis(port=port, **({"decode_responses": True, "retry": NO_RETRIES} | options))


class Server:
    """A real server on a free port, without persistence."""

    def __init__(
        self,
        name: str,
        password: str | None = None,
        arguments: tuple[str, ...] = (),
        threshold_ms: int | None = THRESHOLD_MS,
    ) -> None:
        variable, threshold = SERVERS[name]
        self.name, self.password = name, password
        self._folder = tempfile.TemporaryDirectory(prefix="unbusy-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [binary(variable), "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        command += ["--dir", self._folder.name]
        command += [f"--{threshold}", str(threshold_ms)] if threshold_ms is not None else []
        command += ["--requirepass", password] if password else []
        command += arguments
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.direct = self.client()
        wait_until("the server answers", self._answers)

    @property
    def has_functions(self) -> bool:
        return self.name != "redis-6.2"

    def client(self, **options) -> redis.Redis:
        """A client past the proxy."""
        return client_of(self.port, password=self.password, **options)

    def rejections(self) -> int:
        """How many commands were answered BUSY so far."""
        busy = self.direct.info("errorstats").get("errorstat_BUSY", "count=0")
        # The oldest redis-py leaves it as the server wrote it.
        return int(busy.removeprefix("count=")) if isinstance(busy, str) else busy["count"]

    def connections(self) -> set[int]:
        """The ids of the connections that are there."""
        return {int(client["id"]) for client in self.direct.client_list()}

    def snapshot(self) -> dict:
        """All data of all databases; one character for each byte, since not every value is text."""
        data = {}
        for db in range(16):
            with self.client(db=db, encoding="latin-1") as client:
                data |= {(db, key): value_of(client, key) for key in client.scan_iter(count=10_000)}
        return data

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server ended at its start"
        with contextlib.suppress(redis.ConnectionError):
            return self.direct.ping()
        return False

    @contextlib.contextmanager
    def paused(self):
        """A silent server for the block, or until it is resumed."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.direct.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def value_of(client: redis.Redis, key: str):
    match client.type(key):
        case "string":
            return client.get(key)
        case "list":
            return client.lrange(key, 0, -1)
        case "set":
            return client.smembers(key)
        case "hash":
            return client.hgetall(key)
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case "stream":
            return client.xrange(key)
        case other:
            raise AssertionError(f"{key} is a {other}")


def data_of_one_run(server: Server, run) -> dict:
    """What the commands leave behind on a server that has time for them; it is empty again afterwards."""
    run()
    data = server.snapshot()
    server.direct.flushall()
    server.direct.script_flush()
    return data


def assert_data(server: Server, expected: dict) -> None:
    """The server has these data and no others."""
    found = server.snapshot()
    wrong = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
    # Values of 100 MB are not to be printed, as pytest would do with what it compares.
    shown = {key: (found.get(key), expected.get(key)) for key in wrong}
    assert not wrong, f"found and expected: {reprlib.repr(shown)}"


class Proxy:
    """`unbusy proxy` in front of a server."""

    LISTENING = "listening on 127.0.0.1:"

    def __init__(self, server: Server, *arguments: str) -> None:
        command = [binary("UNBUSY_BIN"), "proxy", "--listen", "127.0.0.1:0"]
        command += ["--upstream", f"redis://127.0.0.1:{server.port}", *arguments]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        wait_until("the proxy listens", lambda: self._port() or self._process.poll() is not None)
        port = self._port()
        assert port, f"the proxy ended at its start: {self.log}"
        self.port = int(port)

    def _read_log(self) -> None:
        for line in self._process.stderr:
            self.log.append(line.rstrip())

    def _port(self) -> str | None:
        for line in list(self.log):
            if self.LISTENING in line:
                return line.split(self.LISTENING)[1].split()[0]
        return None

    def client(self, **options) -> redis.Redis:
        return client_of(self.port, **options)

    def wait_log(self, text: str) -> None:
        wait_until(f"{text!r} in the log", lambda: any(text in line for line in list(self.log)))

    def memory(self) -> int:
        """The bytes of memory that it occupies."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stderr.close()


class BusyScript:
    """A script on a connection of its own, running while the block does; some of that must be rejected."""

    # The script stops by the server's clock, of which scripts see whole milliseconds only.
    CLOCKS_DIFFER = 0.005

    def __init__(self, server: Server, millis: int = SCRIPT_MS, must_reject: bool = True) -> None:
        self._server, self._millis, self._must_reject = server, millis, must_reject
        self._killed = False

    def __enter__(self) -> Self:
        self._client = self._server.client(socket_timeout=PATIENCE + self._millis / 1000)
        self._client.ping()
        self._before = self._server.rejections()
        self._thread = threading.Thread(target=self._run)
        # Its answer does not tell: the thread that waits for it may learn of it later than others of theirs.
        self._end = time.monotonic() + self._millis / 1000 - self.CLOCKS_DIFFER
        self._thread.start()
        wait_until("the server is busy", self._is_busy)
        return self

    @contextlib.contextmanager
    def holds(self):
        """The block, which waits for answers, begins while the script runs and is not through before its end."""
        assert time.monotonic() < self._end, "begun too late to be held"
        yield
        early = self._end - time.monotonic()
        assert early <= 0, f"answered {early:.3f} s before the script's end"

    def holds_all(self, work: dict, but: frozenset = frozenset()) -> None:
        """Runs the functions in threads; each is held, but for the named ones."""

        def held(run) -> None:
            with self.holds():
                run()

        all_at_once({name: run if name in but else partial(held, run) for name, run in work.items()})

    def kill(self) -> None:
        self._killed = True
        assert self._server.direct.script_kill()

    def _run(self) -> None:
        try:
            assert self._client.eval(SPIN, 0, self._millis) == 1
        except redis.ResponseError as error:
            assert self._killed and "killed by user" in str(error), error

    def _is_busy(self) -> bool:
        try:
            self._server.direct.ping()
        except redis.ResponseError as error:
            return str(error).startswith("BUSY ") or "BUSY" in type(error).__name__.upper()
        assert self._thread.is_alive(), "the script ended and the server was never busy"
        return False

    def __exit__(self, kind, *_error) -> None:
        self._thread.join()
        self._client.close()
        # One of them is the question whether the server is busy. A run in which nothing was held has shown nothing.
        expected = self._before + 1 + self._must_reject
        assert kind or self._server.rejections() >= expected, "nothing was rejected"


def all_at_once(work: dict) -> None:
    """Runs the functions in threads; raises the first error, with the name of its function."""
    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        running = {name: pool.submit(function) for name, function in work.items()}
        for name, future in running.items():
            try:
                future.result(timeout=PATIENCE)
            except Exception as error:
                error.add_note(f"in: {name}")
                raise


def cached_servers() -> dict[str, str]:
    """The binaries that `cargo xtask servers` has fetched, for those who call pytest by hand."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "unbusy" / "servers"
    return {
        variable: str(folder / name / ("valkey-server" if name.startswith("valkey") else "redis-server"))
        for name, (variable, _) in SERVERS.items()
    }
