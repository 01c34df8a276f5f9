"""Asynchronous connections, which their loop drives itself: what asyncio's own transports do is done by theirs."""

import asyncio
import gc
import os
import socket
import threading
import time
import warnings
import weakref

import pytest
from harness import SCRIPT_MS, BusyScript, assert_data, wait_until
from test_asyncio import NO_RETRIES, busy

import unbusy.asyncio
from unbusy import _transport
from unbusy._transport import LoopTransport

# Of names that redis-py had for its arguments, and of forks of processes with threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

INCR = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"
LARGE = 30_000_000


class Raw:
    """The streams of a connection."""

    def __init__(self, connection):
        self.connection = connection
        self.reader, self.writer = connection._reader, connection._writer
        self.transport = self.writer.transport

    @property
    def is_lent(self):
        return self.transport._watched != self.transport._connection.server_fileno()

    async def ask(self, command, reply):
        self.writer.write(command)
        assert await self.reader.readexactly(len(reply)) == reply


async def raw(port):
    connection = unbusy.asyncio.Connection(port=port, protocol=2, lib_name=None, lib_version=None, retry=NO_RETRIES)
    await connection.connect()
    return Raw(connection)


def client_of(server, **options):
    return unbusy.asyncio.Redis(port=server.port, retry=NO_RETRIES, **options)


def set_of(key, value):
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)


async def becomes(what, condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


def test_what_is_known_of_a_connection(one_server):
    async def look():
        one = await raw(one_server.port)
        assert isinstance(one.transport, LoopTransport)
        assert one.writer.get_extra_info("peername") == ("127.0.0.1", one_server.port)
        assert one.writer.get_extra_info("sockname")[0] == "127.0.0.1"
        assert one.writer.get_extra_info("nothing", 7) == 7
        assert one.writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await one.ask(PING, PONG)
        with pytest.raises(TypeError, match="bytes-like"):
            one.writer.write("PING")
        assert not one.writer.can_write_eof()
        await one.connection.disconnect()

    asyncio.run(look())


def test_it_is_lent_while_it_waits(server):
    async def wait():
        one = await raw(server.port)
        for turn in (1, 3):
            await one.ask(INCR, b":%d\r\n" % turn)
            assert not one.is_lent
            async with busy(server) as script:
                with script.holds():
                    one.writer.write(INCR)
                    await becomes("it is lent", lambda: one.is_lent)
                    assert await one.reader.readexactly(4) == b":%d\r\n" % (turn + 1)
            await becomes("it is given back", lambda: not one.is_lent)
        await one.connection.disconnect()

    asyncio.run(wait())
    assert_data(server, {(0, "n"): "4"})


def test_many_at_once_after_a_lull(one_server, monkeypatch):
    """When nobody knows whether the server is open, all wait for the first one's answer, and for no more."""
    monkeypatch.setattr(_transport, "PATIENCE", 1000)

    async def ask():
        many = [await raw(one_server.port) for _ in range(50)]
        for _ in range(5):
            await asyncio.sleep(0.1)
            await asyncio.gather(*(one.ask(PING, PONG) for one in many))
        for one in many:
            await one.connection.disconnect()

    asyncio.run(ask())


def test_a_server_that_takes_nothing(one_server):
    """The loop goes on meanwhile, and who writes is told to wait."""

    async def write():
        one = await raw(one_server.port)
        await one.ask(PING, PONG)
        with one_server.paused():
            one.writer.write(set_of(b"large", b"x" * LARGE))
            assert one.is_lent
            assert one.transport.get_write_buffer_size() == 0
            # The engine has taken that, and takes no more.
            one.writer.write(set_of(b"also", b"x" * LARGE))
            drained = asyncio.create_task(one.writer.drain())
            for _ in range(10):
                begun = time.monotonic()
                await asyncio.sleep(0.01)
                assert time.monotonic() - begun < 0.2
            assert not drained.done()
            assert one.transport.get_write_buffer_size() > 64 * 1024
        await drained
        assert await one.reader.readexactly(10) == b"+OK\r\n" * 2
        await becomes("it is given back", lambda: not one.is_lent)
        await one.connection.disconnect()

    asyncio.run(write())


def test_who_does_not_read_is_given_no_more(one_server):
    async def read():
        one = await raw(one_server.port)
        one_server.direct.set("large", "x" * LARGE)
        one.writer.write(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n")
        await becomes("it is paused", lambda: not one.transport.is_reading())
        used = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - used < 0.15, "the loop has something to do"
        assert len(one.reader._buffer) < LARGE / 10
        whole = b"$%d\r\n" % LARGE + b"x" * LARGE + b"\r\n"
        assert await one.reader.readexactly(len(whole)) == whole
        await one.ask(PING, PONG)
        await one.connection.disconnect()

    asyncio.run(read())


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_pipeline_that_is_not_read_before_all_is_sent(one_server, is_busy):
    times, value = 20_000, b"x" * 500
    command = b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$500\r\n%b\r\n$3\r\nGET\r\n" % value
    expected = b"$500\r\n%b\r\n" % value * times

    async def write_and_read(one):
        one.writer.write(command * times)
        await one.writer.drain()
        assert await one.reader.readexactly(len(expected)) == expected

    async def execute():
        one = await raw(one_server.port)
        await one.ask(set_of(b"k", value), b"+OK\r\n")
        if is_busy:
            async with busy(one_server) as script:
                with script.holds():
                    await write_and_read(one)
        else:
            await write_and_read(one)
        await one.connection.disconnect()

    asyncio.run(execute())


def test_a_paused_transport_gives_nothing(one_server):
    """Although answers are read for what is to be sent."""

    async def write():
        one = await raw(one_server.port)
        await one.ask(PING, PONG)
        one.transport.pause_reading()
        one.writer.write(set_of(b"k", b"v" * 1_000_000))
        command = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
        one.writer.write(command * 20 + PING * 20_000)
        await one.writer.drain()
        await asyncio.sleep(0.1)
        assert not one.reader._buffer
        one.transport.resume_reading()
        expected = b"+OK\r\n" + (b"$1000000\r\n%b\r\n" % (b"v" * 1_000_000)) * 20 + PONG * 20_000
        assert await one.reader.readexactly(len(expected)) == expected
        await one.connection.disconnect()

    asyncio.run(write())


def test_what_was_written_is_sent_before_it_closes(one_server):
    async def close():
        one = await raw(one_server.port)
        await one.ask(PING, PONG)
        with one_server.paused():
            one.writer.write(set_of(b"large", b"x" * LARGE) + set_of(b"k", b"v" * 1_000_000))
            one.writer.close()
            assert one.transport.is_closing()
            asyncio.get_running_loop().call_later(0.1, one_server.resume)
            await one.writer.wait_closed()
        one.writer.write(PING)

    asyncio.run(close())
    wait_until("it is executed", lambda: one_server.direct.exists("k"))


@pytest.mark.parametrize("end", ["abort", "close"])
@pytest.mark.parametrize("more", [b"", PING * 100_000])
def test_what_is_held_when_it_ends_is_not_executed(one_server, end, more):
    """Unless it is closed with more to send than the engine takes: asyncio goes on with that first."""

    async def leave():
        one = await raw(one_server.port)
        async with busy(one_server):
            one.writer.write(INCR + more)
            await becomes("it is lent", lambda: one.is_lent)
            getattr(one.transport, end)()
            if end == "abort" or not more:
                await asyncio.wait_for(one.writer.wait_closed(), 0.2)
            else:
                await asyncio.sleep(0.1)
                one.transport.abort()

    asyncio.run(leave())
    assert_data(one_server, {})


def test_a_loop_that_ends_meanwhile(one_server):
    """What it has left behind is not executed."""
    loop = asyncio.new_event_loop()
    one = loop.run_until_complete(raw(one_server.port))
    left = weakref.ref(one.transport)
    with BusyScript(one_server), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        one.writer.write(INCR)
        loop.run_until_complete(becomes("it is lent", lambda: one.is_lent))
        loop.close()
        del one, loop
        gc.collect()
        assert left() is None
    assert_data(one_server, {})


def test_a_child_lets_go_of_nothing_but_descriptors(one_server):
    async def fork():
        many = [await raw(one_server.port) for _ in range(2)]
        for one in many:
            await one.ask(INCR, b":%d\r\n" % (many.index(one) + 1))
        async with busy(one_server):
            many[1].writer.write(INCR)
            await becomes("it is lent", lambda: many[1].is_lent)
            child = os.fork()
            if child == 0:
                for one in many:
                    one.transport._connection.close()
                os._exit(0)
            await becomes("the child ends", lambda: os.waitpid(child, os.WNOHANG)[0])
        assert await many[1].reader.readexactly(4) == b":3\r\n"
        await many[0].ask(INCR, b":4\r\n")
        for one in many:
            await one.connection.disconnect()

    asyncio.run(fork())


class Fake:
    """A server that answers `PING`, then half a reply, and closes."""

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                if b"PING" in client.recv(1000):
                    client.sendall(PONG + b"$10\r\nabc")

    def __exit__(self, *_):
        self._listener.close()


def test_a_server_that_closes_within_a_reply():
    async def read():
        with Fake() as fake:
            one = await raw(fake.port)
            await one.ask(PING, PONG)
            with pytest.raises(asyncio.IncompleteReadError) as error:
                await one.reader.readexactly(16)
            assert error.value.partial == b"$10\r\nabc"
            assert one.reader.at_eof()
            # As with asyncio's own, it ends when it is written to.
            one.writer.write(PING)
            with pytest.raises(OSError):
                await one.writer.wait_closed()
            with pytest.raises(OSError):
                await one.reader.read()

    asyncio.run(read())


class NoReaders(asyncio.SelectorEventLoop):
    """As ProactorEventLoop is."""

    add_reader = asyncio.AbstractEventLoop.add_reader


def test_a_loop_that_cannot_watch_descriptors(one_server):
    async def count():
        one = await raw(one_server.port)
        assert not isinstance(one.transport, LoopTransport)
        async with busy(one_server) as script:
            with script.holds():
                await one.ask(INCR, b":1\r\n")
        await one.connection.disconnect()

    loop = NoReaders()
    loop.run_until_complete(count())
    loop.close()


def test_no_socket_is_left_behind(one_server):
    def sockets():
        return len(os.listdir("/proc/self/fd"))

    async def come_and_go(times):
        for _ in range(times):
            many = [await raw(one_server.port) for _ in range(10)]
            for number, one in enumerate(many):
                await one.ask(PING, PONG)
                one.transport._connection.lend()
                one.transport._look()
                if number % 2:
                    await one.ask(PING, PONG)
                    await becomes("it is given back", lambda: not one.is_lent)
            for one in many:
                await one.connection.disconnect()

    asyncio.run(come_and_go(1))
    before = sockets()
    asyncio.run(come_and_go(3))
    wait_until("they are closed", lambda: sockets() <= before)
