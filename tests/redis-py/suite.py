"""A pytest plugin for the suite of redis-py: tells what becomes of each test, and where the server is."""

import json
import os
import socket

# Some tests take it for granted that a server listens on this port.
USUAL_PORT = 6379

server_port = int(os.environ["UNBUSY_SUITE_PORT"])
events_file = os.environ["UNBUSY_SUITE_EVENTS"]
resolve = socket.getaddrinfo
failed = {}
skipped = set()


def getaddrinfo(host, port, *args, **kwargs):
    return resolve(host, server_port if port == USUAL_PORT else port, *args, **kwargs)


socket.getaddrinfo = getaddrinfo


def install_unbusy():
    """All connections go through the package unbusy, which looks up addresses by itself."""
    import dataclasses

    import unbusy
    from unbusy import _asyncio, _sync

    def leading_to_the_server(settings_of):
        def settings(*args):
            known = settings_of(*args)
            return dataclasses.replace(known, port=server_port) if known.port == USUAL_PORT else known

        return settings

    for module in (_sync, _asyncio):
        module.settings_of = leading_to_the_server(module.settings_of)
    unbusy.install()


if os.environ.get("UNBUSY_SUITE_INSTALL"):
    install_unbusy()


def pytest_collection_finish(session):
    """From now on the server may be busy: what the suite does before its tests could not bear it."""
    with open(events_file, "w") as events:
        for item in session.items:
            events.write(json.dumps({"type": "test", "event": "started", "name": name(item)}) + "\n")


def name(test):
    return test.nodeid.removeprefix("tests/")


def pytest_runtest_logreport(report):
    """A test passes if its setup and its teardown do, too."""
    test = name(report)
    if report.failed:
        failed[test] = failed.get(test, "") + report.longreprtext
    if report.skipped:
        skipped.add(test)
    if report.when == "teardown":
        event = "failed" if test in failed else "ignored" if test in skipped else "ok"
        # The same words as those of cargo nextest.
        line = json.dumps({"type": "test", "event": event, "name": test, "stdout": failed.get(test, "")})
        with open(events_file, "a") as events:
            events.write(line + "\n")
