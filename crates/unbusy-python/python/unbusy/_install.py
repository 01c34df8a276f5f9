"""For programs whose clients are made by others: all of redis-py's connections in this process wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis.asyncio.connection
import redis.connection

from unbusy import _asyncio, _sync
from unbusy._connection import Options, Variants

_FAMILIES: tuple[tuple[Any, Variants], ...] = (
    (redis.connection.AbstractConnection, _sync.held_class),
    (redis.asyncio.connection.AbstractConnection, _asyncio.held_class),
)
_originals: list[Callable[..., None]] = []


def install(**kwargs: Any) -> None:
    """From now on, every new connection of redis-py waits while its server is busy, whoever makes it.

    Connections that are there already are not changed. The arguments are those that `unbusy.Redis` has in addition; a second call
    changes them.
    """
    uninstall()
    options = Options(**kwargs)
    for base, variants in _FAMILIES:
        _originals.append(base.__init__)
        base.__init__ = _turning(base.__init__, variants, options)


def uninstall() -> None:
    """New connections are redis-py's own again."""
    for (base, _), original in zip(_FAMILIES, _originals):
        base.__init__ = original
    _originals.clear()


def _turning(original: Callable[..., None], variants: Variants, options: Options) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        variant = variants(type(self))
        if variant is not type(self):
            timeout = self.socket_timeout
            self.__class__ = variant
            self.take(options)
            self.socket_timeout = timeout

    return __init__
