"""redis-py's asynchronous classes, led through an engine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import redis
import redis.asyncio as plain

from unbusy._clients import HeldClient, HeldPool
from unbusy._connection import Options, Variants, settings_of
from unbusy._engine import Engine
from unbusy._engines import engine_for
from unbusy._patience import Watch
from unbusy._transport import can_drive, streams

if TYPE_CHECKING:

    class _Base:
        """What is used of a library's connection."""

        _reader: Any
        _writer: Any

        @property
        def is_connected(self) -> Any: ...
        def _host_error(self) -> Any: ...
        async def connect(self) -> Any: ...
        async def send_packed_command(self, *args: Any, **kwargs: Any) -> Any: ...
        def read_response(self, *args: Any, **kwargs: Any) -> Any: ...

else:
    _Base = object


_NO_LIMIT = nullcontext()


def _open(engine: Engine) -> socket.socket:
    sock = socket.socket(fileno=engine.connect())
    sock.setblocking(False)
    return sock


class Held(_Base):
    """Whatever the kind of socket, the connection is the engine's, and waits while the server is busy."""

    # How the library sends, and reads a response. Pipelines do that for each of their commands, so it is to cost little.
    _plain_send: ClassVar[Callable[..., Any]]
    _plain_read: ClassVar[Callable[..., Any]]
    # What is raised when the server is silent for too long.
    late: ClassVar[type[Exception]] = redis.TimeoutError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(super(Held, cls), "read_response"):
            cls._plain_read = super(Held, cls).read_response
            cls._plain_send = super(Held, cls).send_packed_command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.take(Options.out_of(kwargs))
        super().__init__(*args, **kwargs)

    def take(self, options: Options) -> None:
        """What it is told in addition to redis-py's own arguments."""
        self._options = options
        self._engine: Engine | None = None
        self._limit: float | None = None

    @property
    def socket_timeout(self) -> float | None:
        """None: redis-py is not to watch the time, which is done here."""
        return None

    @socket_timeout.setter
    def socket_timeout(self, limit: float | None) -> None:
        self._limit = limit

    async def _connect(self) -> None:
        settings = settings_of(self, self._options)
        self._engine = engine_for(settings)
        if settings.tls is None and can_drive(asyncio.get_running_loop()):
            connection = await asyncio.to_thread(self._engine.connect_polled)
            self._reader, self._writer = streams(connection)
        else:
            sock = await asyncio.to_thread(_open, self._engine)
            self._reader, self._writer = await asyncio.open_connection(sock=sock)

    def send_packed_command(self, *args: Any, **kwargs: Any) -> Any:
        if self._limit:
            return self._send_in_time(*args, **kwargs)
        return self._plain_send(*args, **kwargs)

    async def _send_in_time(self, *args: Any, **kwargs: Any) -> None:
        if not self.is_connected:
            # That has a time-out of its own.
            await self.connect()
        with self._in_time("writing to"):
            await self._plain_send(*args, **kwargs)

    def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        if timeout is None and self._limit:
            return self._read_in_time(disable_decoding, kwargs)
        if kwargs:
            return self._plain_read(disable_decoding, timeout, **kwargs)
        return self._plain_read(disable_decoding, timeout)

    async def _read_in_time(self, disable_decoding: bool, kwargs: dict[str, Any]) -> Any:
        with self._in_time("reading from"):
            return await self._plain_read(disable_decoding, **kwargs)

    def _in_time(self, doing: str) -> AbstractContextManager[None]:
        if not self._limit or self._engine is None:
            return _NO_LIMIT
        return Watch(self._limit, self._engine, self._options.max_wait, partial(self._late_error, doing))

    def _late_error(self, doing: str) -> Exception:
        return self.late(f"Timeout {doing} {self._host_error()}")


class Connection(Held, plain.Connection):
    """A connection over TCP."""


class UnixDomainSocketConnection(Held, plain.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class SSLConnection(Held, plain.SSLConnection):
    """A connection with TLS, which is the engine's."""


held_class = Variants(Held, Connection, UnixDomainSocketConnection, SSLConnection)


class ConnectionPool(HeldPool, plain.ConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = held_class


class BlockingConnectionPool(HeldPool, plain.BlockingConnectionPool):
    """The same, which waits for a connection when all are in use."""

    variants = held_class


class Redis(HeldClient, plain.Redis):  # type: ignore[misc] # its bases differ
    pools = ConnectionPool
