"""redis-py's blocking classes, led through an engine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import redis

from unbusy._clients import HeldClient, HeldPool
from unbusy._connection import Options, Variants, settings_of
from unbusy._engines import engine_for
from unbusy._patience import PatientSocket

if TYPE_CHECKING:

    class _Base:
        """What is used of a library's connection."""

        _sock: Any
        _parser: Any

        @property
        def socket_timeout(self) -> Any: ...
        @socket_timeout.setter
        def socket_timeout(self, value: Any) -> None: ...
        def connect(self) -> Any: ...
        def read_response(self, disable_decoding: bool = False, **kwargs: Any) -> Any: ...
        def can_read(self, timeout: float = 0) -> Any: ...

else:
    _Base = object


class Held(_Base):
    """Whatever the kind of socket, the connection is the engine's, and waits while the server is busy."""

    # How the library reads a response. Pipelines do that for each of their commands, so it is to cost little.
    _plain_read: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._plain_read = super(Held, cls).read_response

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.take(Options.out_of(kwargs))
        super().__init__(*args, **kwargs)

    def take(self, options: Options) -> None:
        """What it is told in addition to redis-py's own arguments."""
        self._options = options

    def _connect(self) -> Any:
        settings = settings_of(self, self._options)
        # Where others have replaced Python's sockets (gevent), a thread that waits for anything else stops all.
        is_direct = settings.tls is None and socket.socket.__module__ == "socket"
        sock = PatientSocket(engine_for(settings), self._options.max_wait, is_direct)
        sock.settimeout(self.socket_timeout)
        return sock

    def read_response(self, disable_decoding: bool = False, **kwargs: Any) -> Any:
        if not kwargs:
            return self._plain_read(disable_decoding)
        if "timeout" not in kwargs or self._sock is None:
            return self._plain_read(disable_decoding, **kwargs)
        sock: PatientSocket = self._sock
        sock.is_exact = True
        try:
            return self._plain_read(disable_decoding, **kwargs)
        finally:
            sock.is_exact = False

    def can_read(self, timeout: float = 0) -> bool:
        if not self._sock:
            self.connect()
        sock: PatientSocket = self._sock
        # A pool asks this each time that it gives the connection away.
        if sock.direct and not _has_data(self._parser) and not sock.direct.is_readable(timeout):
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


class ConnectionPool(HeldPool, redis.ConnectionPool):
    """A pool of connections that wait while the server is busy."""

    variants = held_class


class BlockingConnectionPool(HeldPool, redis.BlockingConnectionPool):
    """The same, which waits for a connection when all are in use."""

    variants = held_class


class Redis(HeldClient, redis.Redis):  # pyright: ignore[reportIncompatibleMethodOverride]
    pools = ConnectionPool
