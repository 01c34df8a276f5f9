"""The engines of this process: one for each server and way of using it, started when first needed."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from unbusy._engine import Engine
from unbusy._notices import follow

# An engine ends when no connection uses it any more. So many of the last are kept all the same, for programs that make a
# client for each of their tasks.
_KEPT = 16


@dataclass(frozen=True)
class Tls:
    """Files for a connection with TLS; the system's authorities are trusted if none are named."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Settings:
    """What an engine is told."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    username: str | None = None
    password: str | None = None
    tls: Tls | None = None
    connect_timeout: float | None = None
    max_wait: float = 120.0
    hold: tuple[str, ...] = ("busy",)
    on_busy: Callable[[], object] | None = None
    on_free: Callable[[], object] | None = None

    @property
    def address(self) -> str:
        return self.path or f"{self.host}:{self.port}"


_lock = threading.Lock()
_running: WeakValueDictionary[Settings, Engine] = WeakValueDictionary()
_last: OrderedDict[Settings, Engine] = OrderedDict()


def engine_for(settings: Settings) -> Engine:
    """The engine with these settings."""
    with _lock:
        engine = _running.get(settings)
        if engine is None:
            engine = _running[settings] = Engine(settings)
            follow(engine, settings)
        _last[settings] = engine
        _last.move_to_end(settings)
        if len(_last) > _KEPT:
            _last.popitem(last=False)
        return engine


def _begin_anew() -> None:
    """In a forked process: the engines' threads are the parent's, and the lock may be held by a thread that is not here."""
    global _lock, _running, _last
    _lock = threading.Lock()
    _running = WeakValueDictionary()
    _last = OrderedDict()


os.register_at_fork(after_in_child=_begin_anew)
