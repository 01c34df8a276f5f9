"""For programs whose clients are made by others: all of redis-py's and valkey-py's connections in this process wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from unbusy._connection import Options, Variants

# Where the libraries have their connections, and we those that wait.
_MODULES = {
    "redis.connection": "unbusy._sync",
    "redis.asyncio.connection": "unbusy._asyncio",
    "valkey.connection": "unbusy.valkey",
    "valkey.asyncio.connection": "unbusy.valkey.asyncio",
}
# The classes that were changed, each with its own function.
_originals: list[tuple[Any, Callable[..., None]]] = []


def install(**kwargs: Any) -> None:
    """From now on, every new connection of redis-py and of valkey-py waits while its server is busy, whoever makes it.

    Connections that are there already are not changed. The arguments are those that `unbusy.Redis` has in addition; a second call
    changes them.
    """
    uninstall()
    options = Options(**kwargs)
    for base, variants in list(_families()):
        _originals.append((base, base.__init__))
        base.__init__ = _turning(base.__init__, variants, options)


def uninstall() -> None:
    """New connections are the libraries' own again."""
    for base, original in _originals:
        base.__init__ = original
    _originals.clear()


def _families() -> Iterator[tuple[Any, Variants]]:
    for plain, held in _MODULES.items():
        try:
            base = import_module(plain).AbstractConnection
        except ModuleNotFoundError:
            # The library is not there.
            continue
        yield base, import_module(held).held_class


def _turning(original: Callable[..., None], variants: Variants, options: Options) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        variant = variants(self.__class__)
        if variant is not self.__class__:
            timeout = self.socket_timeout
            self.__class__ = variant
            self.take(options)
            self.socket_timeout = timeout

    return __init__
