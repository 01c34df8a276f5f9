"""redis-py's blocking classes, led through an engine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import redis

from unbusy._connection import Options, Variants, refuse_plain, settings_of, taken
from unbusy._engines import engine_for
from unbusy._patience import PatientSocket

if TYPE_CHECKING:
    # As far as the types go, the class below is one of redis-py's connections.
    _Base = redis.Connection
else:
    _Base = object


class Held(_Base):
    """Whatever the kind of socket, the connection is the engine's, and waits while the server is busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.take(Options.out_of(kwargs))
        super().__init__(*args, **kwargs)

    def take(self, options: Options) -> None:
        """What it is told in addition to redis-py's own arguments."""
        self._options = options

    def _connect(self) -> PatientSocket:
        settings = settings_of(self, self._options)
        # Where others have replaced Python's sockets (gevent), a thread that waits for anything else stops all.
        is_direct = settings.tls is None and socket.socket.__module__ == "socket"
        sock = PatientSocket(engine_for(settings), self._options.max_wait, is_direct)
        sock.settimeout(self.socket_timeout)
        return sock

    def read_response(self, disable_decoding: bool = False, **kwargs: Any) -> Any:
        if "timeout" not in kwargs or self._sock is None:
            return super().read_response(disable_decoding, **kwargs)
        sock: PatientSocket = self._sock
        sock.is_exact = True
        try:
            return super().read_response(disable_decoding, **kwargs)
        finally:
            sock.is_exact = False

    def can_read(self, timeout: float = 0) -> bool:
        if self._sock is None:
            self.connect()
        sock: PatientSocket = self._sock  # type: ignore[assignment]
        # A pool asks this each time that it gives the connection away.
        if timeout == 0 and sock.direct and not sock.direct.is_readable() and not _has_data(self._parser):
            return False
        sock.is_exact = True
        try:
            return bool(super().can_read(timeout))
        finally:
            sock.is_exact = False


def _has_data(parser: Any) -> bool:
    """Whether a parser has read more than it has given away, or cannot tell."""
    reader = getattr(parser, "_reader", None)
    if reader is not None and hasattr(reader, "has_data"):
        return bool(reader.has_data())
    buffer = getattr(parser, "_buffer", None)
    return buffer is None or not hasattr(buffer, "unread_bytes") or bool(buffer.unread_bytes())


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

    In addition to redis-py's arguments it takes

    `max_wait`: for how many seconds a command waits (120), counted from its first BUSY; 0 never. Then the error is raised;
    `hold`: what is waited for: "busy", or "busy,loading";
    `on_busy`, `on_free`: called, on a thread of their own, when the server becomes busy, and when it accepts commands again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse_plain(kwargs.get("connection_pool"), held_class)
        self._in_addition = taken(kwargs)
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
        in_addition = taken(kwargs)
        single = kwargs.pop("single_connection_client", False)
        pool = ConnectionPool.from_url(url, **kwargs, **in_addition)
        client = cls(connection_pool=pool, single_connection_client=single)
        client.auto_close_connection_pool = True
        return client
