"""redis-py's asynchronous classes, led through an engine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import redis.asyncio as plain
from redis.exceptions import TimeoutError as RedisTimeoutError

from unbusy._connection import Options, Variants, refuse_plain, settings_of, taken
from unbusy._engine import Engine
from unbusy._engines import engine_for
from unbusy._patience import is_over

if TYPE_CHECKING:
    # As far as the types go, the class below is one of redis-py's connections.
    _Base = plain.Connection
else:
    _Base = object


def _open(engine: Engine) -> socket.socket:
    sock = socket.socket(fileno=engine.connect())
    sock.setblocking(False)
    return sock


class Held(_Base):
    """Whatever the kind of socket, the connection is the engine's, and waits while the server is busy."""

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
        self._engine = engine_for(settings_of(self, self._options))
        sock = await asyncio.to_thread(_open, self._engine)
        self._reader, self._writer = await asyncio.open_connection(sock=sock)

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if not self.is_connected:
            # That has a time-out of its own.
            await self.connect()
        async with self._in_time("writing to"):
            await super().send_packed_command(*args, **kwargs)

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        if timeout is not None:
            return await super().read_response(disable_decoding, timeout, **kwargs)
        async with self._in_time("reading from"):
            return await super().read_response(disable_decoding, **kwargs)

    @asynccontextmanager
    async def _in_time(self, doing: str) -> AsyncIterator[None]:
        """Watches the time-out, which counts only if the server is neither busy nor about to be."""
        limit, engine = self._limit, self._engine
        if not limit or engine is None:
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        begun, expired = loop.time(), False
        # Since Python 3.11 a task tells how often others have cancelled it.
        cancelled = getattr(task, "cancelling", int)()
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer, expired
            if task and is_over(engine, loop.time() - begun, self._options.max_wait):
                expired = task.cancel()
            else:
                timer = loop.call_later(limit, look)

        timer = loop.call_later(limit, look)
        try:
            yield
        except asyncio.CancelledError:
            if not expired or getattr(task, "uncancel", int)() > cancelled:
                raise
            raise RedisTimeoutError(f"Timeout {doing} {self._host_error()}") from None
        finally:
            timer.cancel()


class Connection(Held, plain.Connection):
    """A connection over TCP."""


class UnixDomainSocketConnection(Held, plain.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class SSLConnection(Held, plain.SSLConnection):
    """A connection with TLS, which is the engine's."""


held_class = Variants(Held, Connection, UnixDomainSocketConnection, SSLConnection)


class ConnectionPool(plain.ConnectionPool):
    """A pool of connections that wait while the server is busy."""

    def __init__(self, connection_class: type[Any] = Connection, **kwargs: Any) -> None:
        super().__init__(connection_class=held_class(connection_class), **kwargs)


class BlockingConnectionPool(plain.BlockingConnectionPool):
    """The same, which waits for a connection when all are in use."""

    def __init__(
        self,
        max_connections: int = 50,
        timeout: float | None = 20,
        connection_class: type[Any] = Connection,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_connections, timeout, held_class(connection_class), **kwargs)


class Redis(plain.Redis):
    """redis-py's asynchronous client, whose commands wait while the server is busy.

    In addition to redis-py's arguments it takes

    `max_wait`: for how many seconds a command waits (120), counted from its first BUSY; 0 never. Then the error is raised;
    `hold`: what is waited for: "busy", or "busy,loading";
    `on_busy`, `on_free`: called, on a thread of their own, when the server becomes busy, and when it accepts commands again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse_plain(kwargs.get("connection_pool"), held_class)
        in_addition = taken(kwargs)
        super().__init__(*args, **kwargs)
        pool = self.connection_pool
        pool.connection_class = held_class(pool.connection_class)
        pool.connection_kwargs.update(in_addition)

    @classmethod
    def from_url(
        cls,
        url: str,
        single_connection_client: bool = False,
        auto_close_connection_pool: bool | None = None,
        **kwargs: Any,
    ) -> Redis:
        in_addition = taken(kwargs)
        pool = ConnectionPool.from_url(url, **kwargs, **in_addition)
        client = cls(connection_pool=pool, single_connection_client=single_connection_client)
        client.auto_close_connection_pool = auto_close_connection_pool is not False
        return client
