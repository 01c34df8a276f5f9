"""redis-py's blocking classes, led through an engine."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import redis

from unbusy._connection import Options, Variants, refuse_plain, renamed, settings_of
from unbusy._engines import engine_for
from unbusy._patience import PatientSocket

if TYPE_CHECKING:
    # As far as the types go, the class below is one of redis-py's connections.
    _Base = redis.Connection
else:
    _Base = object


class Held(_Base):
    """Whatever the kind of socket, the connection is the engine's, and waits while the server is busy."""

    def __init__(
        self, *args: Any, max_wait: float | None = None, hold: str | Iterable[str] = "busy", **kwargs: Any
    ) -> None:
        self.take(Options(max_wait, hold))
        super().__init__(*args, **kwargs)

    def take(self, options: Options) -> None:
        """What it is told in addition to redis-py's own arguments."""
        self._options = options

    def _connect(self) -> socket.socket:
        engine = engine_for(settings_of(self, self._options))
        sock = PatientSocket(engine, self._options.max_wait)
        sock.settimeout(self.socket_timeout)
        return sock

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        sock: PatientSocket | None = self._sock
        if "timeout" not in kwargs or sock is None:
            return super().read_response(*args, **kwargs)
        sock.is_exact = True
        try:
            return super().read_response(*args, **kwargs)
        finally:
            sock.is_exact = False

    def can_read(self, timeout: float = 0) -> bool:
        if self._sock is None:
            self.connect()
        sock: PatientSocket = self._sock  # type: ignore[assignment]
        sock.is_exact = True
        try:
            return bool(super().can_read(timeout))
        finally:
            sock.is_exact = False


class Connection(Held, redis.Connection):
    """A connection over TCP."""


class UnixDomainSocketConnection(Held, redis.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class SSLConnection(Held, redis.SSLConnection):
    """A connection with TLS, which is the engine's."""


held_class = Variants(Held, Connection, UnixDomainSocketConnection, SSLConnection)


class ConnectionPool(redis.ConnectionPool):
    """A pool of connections that wait while the server is busy."""

    def __init__(self, connection_class: type[Any] = Connection, **kwargs: Any) -> None:
        super().__init__(connection_class=held_class(connection_class), **kwargs)


class BlockingConnectionPool(redis.BlockingConnectionPool):
    """The same, which waits for a connection when all are in use."""

    def __init__(
        self,
        max_connections: int = 50,
        timeout: float | None = 20,
        connection_class: type[Any] = Connection,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_connections, timeout, held_class(connection_class), **kwargs)


class Redis(redis.Redis):
    """redis-py's client, whose commands wait while the server is busy.

    `max_wait`: for so many seconds, counted from a command's first BUSY (120); 0 never. Then the server's error is raised.
    `hold`: what is waited for: "busy", or "busy,loading".
    """

    def __init__(
        self,
        *args: Any,
        max_wait: float | None = None,
        hold: str | Iterable[str] | None = None,
        lua_retry_time: float | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_plain(kwargs.get("connection_pool"), held_class)
        max_wait = renamed(max_wait, lua_retry_time)
        self._in_addition = {
            name: value for name, value in (("max_wait", max_wait), ("hold", hold)) if value is not None
        }
        super().__init__(*args, **kwargs)

    @property
    def connection_pool(self) -> redis.ConnectionPool:
        return self._pool

    @connection_pool.setter
    def connection_pool(self, pool: redis.ConnectionPool) -> None:
        # redis-py makes one if it was given none, and a connection of it at once if there is to be only one.
        pool.connection_class = held_class(pool.connection_class)
        pool.connection_kwargs.update(self._in_addition)
        self._pool = pool

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Redis:
        kwargs["max_wait"] = renamed(kwargs.get("max_wait"), kwargs.pop("lua_retry_time", None))
        single = kwargs.pop("single_connection_client", False)
        pool = ConnectionPool.from_url(url, **kwargs)
        client = cls(connection_pool=pool, single_connection_client=single)
        client.auto_close_connection_pool = True
        return client
