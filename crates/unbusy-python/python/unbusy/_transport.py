"""A transport for asyncio over a connection that the loop drives itself.

A socket pair and a thread behind it would cost two changes of threads per command. So here the loop watches the server's socket, and
its callbacks do what that thread would do. The thread gets the connection only for as long as there is more to wait for than an
answer; then there is another descriptor to watch, which `Polled.watch` tells.
"""

from __future__ import annotations

import asyncio
import os
import socket
import warnings
import weakref
from asyncio.trsock import TransportSocket
from typing import Any

from unbusy._engine import Polled

# When the gate lets nobody pass at once, the first answer of a connection of the same loop opens it, usually: who waits tries again
# then. Whoever has waited for so many seconds waits in the engine's thread.
PATIENCE = 0.005

# As asyncio's own transports.
_HIGH_WATER = 64 * 1024
_SENDABLE: tuple[type[Any], ...] = (bytes, bytearray, memoryview)

_Reference = weakref.ReferenceType["LoopTransport"]
_waiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[_Reference]] = weakref.WeakKeyDictionary()


def can_drive(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop can watch descriptors."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


def streams(connection: Polled) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """What `asyncio.open_connection` gives, for this loop."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = LoopTransport(loop, connection, protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class LoopTransport(asyncio.Transport):
    """It behaves as asyncio's own for sockets do, but cannot close one direction only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Polled, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop, self._connection = loop, connection
        self._reference = _Reference(self)
        self._waiting = _waiting.setdefault(loop, set())
        # What the loop watches. Nothing but the one descriptor is to be watched while it is calm.
        self._watched: int | None = None
        self._is_read = self._is_written = False
        self._is_calm = False
        self._impatience: asyncio.TimerHandle | None = None
        self._more: asyncio.Handle | None = None
        self._is_paused = self._is_at_end = self._is_closing = self._is_lost = False
        self._is_full = False
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        with socket.socket(fileno=os.dup(connection.server_fileno())) as server:
            self._extra = {"sockname": server.getsockname(), "peername": server.getpeername()}
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._look()

    def write(self, data: Any) -> None:
        if not isinstance(data, _SENDABLE):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._is_lost or not data:
            return
        try:
            is_calm = self._connection.send(data)
        except OSError as error:
            self._lose(error)
            return
        if not (is_calm and self._is_calm):
            self._look()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _read(self) -> None:
        if self._is_paused or self._is_closing:
            self._turn()
            return
        try:
            data, is_calm = self._connection.recv()
        except BlockingIOError:
            self._look()
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._end()
            return
        self._protocol.data_received(data)
        if not (is_calm and self._is_calm):
            self._look()
        if self._waiting:
            for reference in list(self._waiting):
                transport = reference()
                if transport:
                    transport._turn()
                else:
                    self._waiting.discard(reference)

    def _read_more(self) -> None:
        self._more = None
        if not self._is_lost:
            self._read()

    def _end(self) -> None:
        self._is_at_end = True
        if self._protocol.eof_received():
            self._look()
        else:
            self.close()

    def _turn(self) -> None:
        """Does what can be done now, but receives nothing."""
        if self._is_lost:
            return
        try:
            self._connection.turn()
        except OSError as error:
            self._lose(error)
            return
        self._look()

    def _grow_impatient(self) -> None:
        self._impatience = None
        self._turn()
        if self._impatience:
            try:
                self._connection.lend()
            except OSError as error:
                self._lose(error)
                return
            self._look()

    def _look(self) -> None:
        """Sees to it that the loop calls again for what it is to be called for."""
        if self._is_lost:
            return
        try:
            self._is_calm, descriptor, is_written, unsent, waits, has_more = self._connection.watch()
        except OSError as error:
            self._lose(error)
            return
        if self._is_closing and not unsent:
            self._lose(None)
            return
        takes = not (self._is_paused or self._is_closing)
        # Who has sent a pipeline may read nothing before all of it is sent, for which answers must be read.
        is_read = not self._is_at_end and (takes or unsent > 0)
        self._watch(descriptor, is_read, is_written)
        self._wait(waits)
        if has_more and takes and not self._is_at_end and not self._more:
            self._more = self._loop.call_soon(self._read_more)
        self._control_flow(unsent)

    def _watch(self, descriptor: int, is_read: bool, is_written: bool) -> None:
        if descriptor != self._watched:
            self._watch_nothing()
            self._watched = descriptor
        if is_read != self._is_read:
            self._is_read = is_read
            if is_read:
                self._loop.add_reader(descriptor, self._read)
            else:
                self._loop.remove_reader(descriptor)
        if is_written != self._is_written:
            self._is_written = is_written
            if is_written:
                self._loop.add_writer(descriptor, self._turn)
            else:
                self._loop.remove_writer(descriptor)

    def _watch_nothing(self) -> None:
        if self._watched is not None:
            self._watch(self._watched, False, False)

    def _wait(self, waits: bool) -> None:
        if not waits:
            self._waiting.discard(self._reference)
            if self._impatience:
                self._impatience.cancel()
                self._impatience = None
        elif not self._impatience:
            self._waiting.add(self._reference)
            self._impatience = self._loop.call_later(PATIENCE, self._grow_impatient)

    def _control_flow(self, unsent: int) -> None:
        if unsent > self._high and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()
        elif unsent <= self._low and self._is_full:
            self._is_full = False
            self._protocol.resume_writing()

    def close(self) -> None:
        """What was written is still sent."""
        if not self._is_closing:
            self._is_closing = True
            self._look()

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: OSError | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        if not self._loop.is_closed():
            self._watch_nothing()
        self._wait(False)
        if self._more:
            self._more.cancel()
        self._connection.close()
        self._loop.call_soon(self._protocol.connection_lost, error)

    def __del__(self) -> None:
        if not self._is_lost:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._connection.close()

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return not (self._is_closing or self._is_paused)

    def pause_reading(self) -> None:
        if self.is_reading():
            self._is_paused = True
            self._look()

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._look()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._look()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return 0 if self._is_lost else self._connection.watch()[3]

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket" and name not in self._extra and not self._is_lost:
            # The server's, of which only the options can be changed.
            server = socket.socket(fileno=os.dup(self._connection.server_fileno()))
            self._extra[name] = TransportSocket(server)
        return self._extra.get(name, default)
