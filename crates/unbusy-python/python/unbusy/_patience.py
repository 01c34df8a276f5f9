"""How a connection's time-out and a busy server go together.

A time-out says for how long a server may be silent before it counts as lost. But a server is silent while a script runs and
its threshold is not reached, and a command that is held is answered only when the script has ended. Giving up then would be
an error where there is none, and redis-py would send the command a second time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from unbusy._engine import Direct, Engine

# A server may be silent for as long as its threshold (5 s unless it was changed), and a little longer on the line.
SILENCE = 6.0

T = TypeVar("T")


def is_over(engine: Engine, waited: float, max_wait: float) -> bool:
    """Whether an answer that has been awaited for so many seconds is late even if the server was busy."""
    if waited >= max_wait + SILENCE:
        return True
    return waited >= SILENCE and engine.calm() >= SILENCE


class Watch:
    """Raises an error in the task that enters it, when its time-out counts.

    It is entered for each answer of a pipeline, so it is not made of a generator, which would cost more than all else here.
    """

    def __init__(self, limit: float, engine: Engine, max_wait: float, late: Callable[[], Exception]) -> None:
        self._limit, self._engine, self._max_wait, self._late = limit, engine, max_wait, late

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        # Since Python 3.11 a task tells how often others have cancelled it.
        self._cancelled: int = getattr(self._task, "cancelling", int)()
        self._begun, self._expired = self._loop.time(), False
        self._timer = self._loop.call_later(self._limit, self._look)

    def _look(self) -> None:
        if self._task and is_over(self._engine, self._loop.time() - self._begun, self._max_wait):
            self._expired = self._task.cancel()
        else:
            self._timer = self._loop.call_later(self._limit, self._look)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if not self._expired or kind is None or not issubclass(kind, asyncio.CancelledError):
            return
        if getattr(self._task, "uncancel", int)() <= self._cancelled:
            raise self._late() from None


class PatientSocket:
    """A connection through an engine. Its time-out counts only if the server is neither busy nor about to be.

    At first it is driven by the threads that use it, which costs least. It becomes a socket, with a thread of the engine's behind
    it, when it is to be watched or shared by threads: when its descriptor is asked for, and when it is subscribed to something.
    """

    def __init__(self, engine: Engine, max_wait: float, is_direct: bool) -> None:
        self._engine = engine
        self._max_wait = max_wait
        self.direct: Direct | None = None
        self._socket: socket.socket | None = None
        if is_direct:
            self.direct = engine.connect_direct()
        else:
            self._socket = socket.socket(fileno=engine.connect())
        # Set while its user waits for no longer than some time whatever happens.
        self.is_exact = False

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if self.direct and flags in (0, socket.MSG_PEEK):
            return self._in_time(self.direct.recv, bufsize, flags != 0)
        return self._in_time(self.become_socket().recv, bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        if self.direct and flags == 0:
            return self._in_time(self.direct.recv_into, buffer, nbytes)
        return self._in_time(self.become_socket().recv_into, buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        direct = self.direct
        if direct is None or flags:
            rest = memoryview(data).cast("B")
            while rest:
                rest = rest[self._in_time(self.become_socket().send, rest, flags) :]
            return
        try:
            direct.sendall(data)
        except TimeoutError:
            self._again(direct.settle)
        if direct.is_subscribed():
            # Others may rely on the subscription before its user looks for messages, and another thread may unsubscribe meanwhile.
            self.become_socket()

    def _in_time(self, operation: Callable[..., T], *args: Any) -> T:
        try:
            return operation(*args)
        except TimeoutError:
            return self._again(operation, *args)

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

    def settimeout(self, timeout: float | None) -> None:
        (self.direct or self.become_socket()).settimeout(timeout)

    def gettimeout(self) -> float | None:
        return (self.direct or self.become_socket()).gettimeout()

    def pending(self) -> int:
        """How many bytes are there that the descriptor says nothing of."""
        return self.direct.pending() if self.direct else 0

    def fileno(self) -> int:
        if self.direct and self.is_exact:
            # It is only looked at.
            return self.direct.server_fileno()
        return self.become_socket().fileno()

    def getpeername(self) -> Any:
        """The server's address, as far as it is known here."""
        return self._server("getpeername")

    def getsockname(self) -> Any:
        return self._server("getsockname")

    def _server(self, question: str) -> Any:
        if self.direct is None:
            return getattr(self.become_socket(), question)()
        with socket.socket(fileno=os.dup(self.direct.server_fileno())) as server:
            return getattr(server, question)()

    def shutdown(self, how: int) -> None:
        (self.direct or self.become_socket()).shutdown(how)

    def close(self) -> None:
        (self.direct or self.become_socket()).close()

    def become_socket(self) -> socket.socket:
        if self.direct:
            timeout = self.direct.gettimeout()
            self._socket = socket.socket(fileno=self.direct.detach())
            self._socket.settimeout(timeout)
            self.direct = None
        assert self._socket
        return self._socket

    def __getattr__(self, name: str) -> Any:
        """Whatever else a socket can do."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.become_socket(), name)
