"""The recipes of docs/python-recipes.md, run as they stand there, but for the server's port."""

import contextlib
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import django
import pytest
from django.conf import settings
from harness import BusyScript, wait_until

import unbusy

PAGE = Path(__file__).resolve().parents[4] / "docs" / "python-recipes.md"
# For how long a script blocks the server. With more than 5 the time-outs of redis-py would strike.
SCRIPT_MS = int(float(os.environ.get("UNBUSY_TEST_SCRIPT_SECONDS", "3")) * 1000)
STOPPING = 20

settings.configure()
django.setup()


class Recipe:
    """A section of the page: its program, as the module `tasks` in a folder, and what is typed there."""

    def __init__(self, title, server, folder):
        section = re.search(rf"^## {re.escape(title)}$(.+?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)[1]
        section = section.replace("localhost:6379", f"127.0.0.1:{server.port}")
        self._blocks = dict(re.findall(r"```(\w+)\n(.+?)```", section, re.S))
        self._server, self._folder = server, folder

    def write(self, more=""):
        """The program and what a test needs in addition."""
        (self._folder / "tasks.py").write_text(f"{self._blocks['python']}\n{more}")

    def module(self, more=""):
        self.write(more)
        return importlib.import_module("tasks")

    def done(self):
        """The numbers of the jobs that were executed, each as often as it was."""
        file = self._folder / "done"
        return sorted(int(line) for line in file.read_text().split()) if file.exists() else []

    def worker(self, ready, *more):
        """The recipe's command, with more arguments."""
        return self.process(ready, *shlex.split(self._blocks["console"].removeprefix("$ ")), *more)

    @contextlib.contextmanager
    def process(self, ready, *words):
        """A process for the block, which begins when the text is in its log. It may have no errors."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
        log = self._folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                words, cwd=self._folder, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        try:
            wait_until(f"{ready!r} in the log", lambda: ready in log.read_text() or process.poll() is not None)
            assert process.poll() is None, f"{words[0]} has not begun: {shown(log)}"
            yield
            assert process.poll() is None, f"{words[0]} has ended: {shown(log)}"
            process.send_signal(signal.SIGTERM)
            process.wait(STOPPING)
            failed = "ERROR" in log.read_text() or "Traceback" in log.read_text()
            assert not failed, f"{words[0]} had errors: {shown(log)}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def shown(log):
    """What is to be read of a log that may be long."""
    return log.read_text()[:5000]


@pytest.fixture
def recipe(one_server, tmp_path, monkeypatch):
    """Gives the recipe with a title."""
    monkeypatch.syspath_prepend(tmp_path)
    yield partial(Recipe, server=one_server, folder=tmp_path)
    sys.modules.pop("tasks", None)
    unbusy.uninstall()


@pytest.fixture
def busy(one_server):
    """Makes the server busy for the block."""
    return partial(BusyScript, one_server, SCRIPT_MS)
