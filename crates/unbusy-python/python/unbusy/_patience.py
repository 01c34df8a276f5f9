"""How a connection's time-out and a busy server go together.

A time-out says for how long a server may be silent before it counts as lost. But a server is silent while a script runs and
its threshold is not reached, and a command that is held is answered only when the script has ended. Giving up then would be
an error where there is none, and redis-py would send the command a second time.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from unbusy._engine import Engine

# A server may be silent for as long as its threshold (5 s unless it was changed), and a little longer on the line.
SILENCE = 6.0

T = TypeVar("T")


def is_over(engine: Engine, waited: float, max_wait: float) -> bool:
    """Whether an answer that has been awaited for so many seconds is late even if the server was busy."""
    if waited >= max_wait + SILENCE:
        return True
    return waited >= SILENCE and engine.calm() >= SILENCE


class PatientSocket(socket.socket):
    """A socket that leads through an engine. Its time-out counts only if the server is neither busy nor about to be."""

    def __init__(self, engine: Engine, max_wait: float) -> None:
        super().__init__(fileno=engine.connect())
        self._engine = engine
        self._max_wait = max_wait
        # Set while its user waits for no longer than some time whatever happens.
        self.is_exact = False

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        try:
            return super().recv(bufsize, flags)
        except TimeoutError:
            return self._again(super().recv, bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        try:
            return super().recv_into(buffer, nbytes, flags)
        except TimeoutError:
            return self._again(super().recv_into, buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            try:
                sent = self.send(rest, flags)
            except TimeoutError:
                sent = self._again(self.send, rest, flags)
            rest = rest[sent:]

    def _again(self, operation: Callable[..., T], *args: Any) -> T:
        """Repeats what has run into the time-out, unless that is to be taken as it is."""
        timeout = self.gettimeout() or 0.0
        begun = time.monotonic() - timeout
        while timeout and not self.is_exact:
            if is_over(self._engine, time.monotonic() - begun, self._max_wait):
                break
            try:
                return operation(*args)
            except TimeoutError:
                continue
        raise TimeoutError("timed out")
