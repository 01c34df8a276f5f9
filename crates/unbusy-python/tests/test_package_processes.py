"""Processes that start others, and processes that end, while the server is busy."""

import asyncio
import multiprocessing
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from harness import PATIENCE, SCRIPT_MS, BusyScript, assert_data

import unbusy
import unbusy.asyncio

# A process that is started has to be there before the script ends.
LONG_MS = 2 * SCRIPT_MS
STARTS = ["fork", "spawn", "forkserver"]


def count(port):
    """The work of a child, with a client of its own."""
    unbusy.Redis(port=port).incr("n")


def count_with_asyncio(port):
    async def incr():
        async with unbusy.asyncio.Redis(port=port) as client:
            await client.incr("n")

    asyncio.run(incr())


@pytest.mark.parametrize("work", [count, count_with_asyncio])
@pytest.mark.parametrize("start", STARTS)
def test_children_started_while_busy(one_server, start, work):
    """While commands of the parent are held, on threads that a forked child does not have."""
    client = unbusy.Redis(port=one_server.port)
    assert client.ping()
    context = multiprocessing.get_context(start)
    with BusyScript(one_server, LONG_MS) as script:
        held = [threading.Thread(target=client.incr, args=("n",)) for _ in range(4)]
        for thread in held:
            thread.start()
        children = [context.Process(target=work, args=(one_server.port,), daemon=True) for _ in range(3)]
        with script.holds():
            for child in children:
                child.start()
            for child in children:
                child.join(PATIENCE)
    for thread in held:
        thread.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert_data(one_server, {(0, "n"): "7"})


@pytest.mark.parametrize("start", STARTS)
def test_a_pool_of_processes(one_server, start):
    """Its processes live on, and have an engine before, while and after the server is busy."""
    with multiprocessing.get_context(start).Pool(2) as pool:
        pool.map(count, [one_server.port] * 4)
        with BusyScript(one_server, LONG_MS) as script, script.holds():
            pool.map(count, [one_server.port] * 4)
        pool.map(count, [one_server.port] * 4)
    assert_data(one_server, {(0, "n"): "12"})


def test_a_child_uses_the_client_of_its_parent(one_server):
    """What was a client before the fork is one afterwards, for both."""
    client = unbusy.Redis(port=one_server.port)
    assert client.ping()
    context = multiprocessing.get_context("fork")
    with BusyScript(one_server) as script, script.holds():
        child = context.Process(target=client.incr, args=("n",), daemon=True)
        child.start()
        client.incr("n")
        child.join(PATIENCE)
    assert child.exitcode == 0
    assert_data(one_server, {(0, "n"): "2"})


# What a program does last, and whether it waits for the script as Python would wait for the thread or task.
ENDS = {
    "idle": ("pass", False),
    "held-in-a-daemon": ("threading.Thread(target=r.incr, args=('n',), daemon=True).start(); time.sleep(0.2)", False),
    "held-in-a-thread": ("threading.Thread(target=r.incr, args=('n',)).start()", True),
    "held-by-a-task": ("asyncio.run(leave())", False),
    "held-in-a-pipeline": ("threading.Thread(target=pipe.execute, daemon=True).start(); time.sleep(0.2)", False),
}
PROGRAM = """
    import asyncio, sys, threading, time
    import unbusy, unbusy.asyncio

    async def leave():
        client = unbusy.asyncio.Redis(port=port)
        asyncio.create_task(client.incr("n"))
        await asyncio.sleep(0.2)

    port = int(sys.argv[1])
    r = unbusy.Redis(port=port)
    r.ping()
    pipe = r.pipeline().incr("n").incr("n")
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_process(one_server, end):
    """It comes at once unless Python itself waits, without a word, and what was not executed by then never is."""
    last, waits = ENDS[end]
    command = [sys.executable, "-c", f"{textwrap.dedent(PROGRAM)}{last}\n", str(one_server.port)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **streams, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with BusyScript(one_server, LONG_MS, must_reject=False) as script:
            begun = time.monotonic()
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.wait(PATIENCE) == 0
            assert (time.monotonic() - begun > SCRIPT_MS / 1000) == waits
        said = process.stderr.read()
    # The notice that the server is busy is the program's own.
    assert not [line for line in said.splitlines() if "is busy (script)" not in line], said
    assert_data(one_server, {(0, "n"): "1"} if waits else {})
