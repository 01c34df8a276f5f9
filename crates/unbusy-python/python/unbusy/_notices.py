"""Tells when a server becomes busy and when it is free again: once, however many wait."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from unbusy._engine import Engine

if TYPE_CHECKING:
    from unbusy._engines import Settings

_log = logging.getLogger("unbusy")

_WARNINGS = {
    "hole": "a command was executed behind one that was rejected; the rejected ones were given up",
    "ambiguous": "a script answered BUSY as it ended; it may have run, so its client got the answer",
    "large": "a rejected transaction was too large to be kept; its client got the error",
}


def follow(engine: Engine, settings: Settings) -> None:
    """Tells what happens to an engine, on a thread that ends with it."""
    lines = socket.socket(fileno=engine.events())
    threading.Thread(target=_read, args=(lines, settings), name="unbusy-notices", daemon=True).start()


def _read(sock: socket.socket, settings: Settings) -> None:
    with sock, sock.makefile() as lines:
        for line in lines:
            _tell(settings, *line.split())


def _tell(settings: Settings, word: str, *details: str) -> None:
    if word == "busy":
        _log.warning("%s is busy (%s); commands wait", settings.address, details[0])
        _call(settings.on_busy)
    elif word == "free":
        seconds, commands, given_up = float(details[0]), details[1], details[2]
        text = "%s accepts commands again after %.1f s; %s commands have waited, %s were given up"
        _log.info(text, settings.address, seconds, commands, given_up)
        _call(settings.on_free)
    else:
        _log.warning("%s: %s", settings.address, _WARNINGS[word])


def _call(callback: Callable[[], object] | None) -> None:
    if callback is None:
        return
    try:
        callback()
    except Exception:
        _log.exception("a callback failed")
