"""gevent, in a process of its own since it changes the standard library: greenlets wait, and others go on."""

import subprocess
import sys

from conftest import SCRIPT_MS
from harness import PATIENCE

# It counts with connections that are there and with fresh ones, and prints the longest time for which nobody else ran.
MORE = """
import sys
import time

import gevent

GREENLETS = 40
moments = []

def tick():
    while True:
        moments.append(time.monotonic())
        gevent.sleep(0.01)

def count():
    client.incr("n")
    with unbusy.from_url(sys.argv[1], client_name="fresh") as fresh:
        fresh.incr("n")

client.ping()
print("ready", flush=True)
sys.stdin.readline()
gevent.spawn(tick)
gevent.joinall([gevent.spawn(count) for _ in range(GREENLETS)], raise_error=True)
moments.append(time.monotonic())
print(max(after - before for before, after in zip(moments, moments[1:])))
"""


def test_gevent(recipe, one_server, busy, tmp_path):
    recipe("gevent").write(MORE)
    command = [sys.executable, "tasks.py", f"redis://127.0.0.1:{one_server.port}"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        with busy() as script, script.holds():
            shown, _ = process.communicate("go\n", timeout=PATIENCE + SCRIPT_MS / 1000)
    assert process.returncode == 0
    assert float(shown) < SCRIPT_MS / 2000, "one greenlet has kept the others from running"
    assert one_server.direct.get("n") == "80"
