"""`unbusy.Redis` while the server is busy: no errors, and the data of one run."""

import gc
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from functools import partial

import pytest
import redis
import test_sync as scenarios
from harness import NO_RETRIES, SCRIPT_MS, BusyScript, assert_data, data_of_one_run, wait_until
from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser

import unbusy
from unbusy import _patience

OWN_OPTIONS = {"decode_responses": True, "retry": NO_RETRIES}
PARSERS = {
    "hiredis": (_HiredisParser, 2),
    "hiredis-resp3": (_HiredisParser, 3),
    "python": (_RESP2Parser, 2),
    "python-resp3": (_RESP3Parser, 3),
}


def client_of(server, **options):
    return unbusy.Redis(port=server.port, **(OWN_OPTIONS | options))


@pytest.mark.parametrize("parser", ["hiredis-resp3", "python"])
def test_scenarios(server, parser):
    runs = list(scenarios.SCENARIOS)
    if server.has_functions:
        server.direct.function_load(scenarios.LIBRARY)
        runs.append(scenarios.functions)

    def one_run():
        with server.client() as direct:
            for scenario in runs:
                scenario(direct)

    expected = data_of_one_run(server, one_run)
    parser_class, protocol = PARSERS[parser]
    options = OWN_OPTIONS | {"port": server.port, "parser_class": parser_class, "protocol": protocol}
    clients = {run: unbusy.Redis(connection_pool=unbusy.ConnectionPool(**options)) for run in runs}
    connections = {client.client_id() for client in clients.values()}
    with BusyScript(server) as script:
        script.holds_all({run.__name__: partial(run, client) for run, client in clients.items()})
    assert connections <= server.connections(), "a connection was replaced"
    assert_data(server, expected)


def test_new_connections(server):
    url = f"redis://127.0.0.1:{server.port}"
    clients = [unbusy.from_url(f"{url}/{db}?client_name=tester", **OWN_OPTIONS) for db in range(4)]
    clients += [client_of(server, db=db, client_name="tester") for db in range(4)]
    with BusyScript(server) as script:
        script.holds_all({str(n): partial(client.incr, "k") for n, client in enumerate(clients)})
    assert all(client.client_getname() == "tester" for client in clients)
    assert_data(server, {(db, "k"): "2" for db in range(4)})


def test_subscriptions(server):
    publisher, pubsub = client_of(server), client_of(server).pubsub()
    assert publisher.ping()
    with BusyScript(server) as script, script.holds():
        pubsub.subscribe("a")
        assert scenarios.next_message(pubsub, "subscribe")["channel"] == "a"
        assert publisher.publish("a", "1") == 1
    assert scenarios.next_message(pubsub, "message")["data"] == "1"
    pubsub.close()


def test_looking_for_messages_takes_no_longer_while_the_subscription_is_held(server):
    client = client_of(server)
    # The subscription gets this connection.
    assert client.ping()
    pubsub = client.pubsub()
    with BusyScript(server) as script, script.holds():
        pubsub.subscribe("a")
        begun = time.monotonic()
        for timeout in (0, 0.1, 0):
            assert pubsub.get_message(timeout=timeout) is None
        assert time.monotonic() - begun < 0.5
        # Its own user does nothing for it now.
        assert client_of(server).publish("a", "1") == 1
        assert scenarios.next_message(pubsub, "subscribe")
    pubsub.close()


def test_another_thread_may_unsubscribe(one_server):
    pubsub = client_of(one_server).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("a")
    heard = []
    listener = threading.Thread(target=lambda: heard.extend(pubsub.listen()), daemon=True)
    listener.start()
    wait_until("nobody has subscribed", lambda: client_of(one_server).publish("a", "1") == 1)
    wait_until("nothing was heard", lambda: heard)
    pubsub.unsubscribe("a")
    listener.join(10)
    assert not listener.is_alive()
    assert [message["data"] for message in heard] == ["1"]


def test_a_connection_is_driven_by_its_threads_until_it_is_watched(server):
    client = client_of(server, single_connection_client=True, socket_timeout=30)
    sock = client.connection._sock
    assert client.ping()
    assert sock.getpeername() == ("127.0.0.1", server.port)
    assert sock.direct
    with BusyScript(server) as script, script.holds():
        client.connection.send_command("INCR", "n")
        # From here on its descriptor must tell of an answer, and of nothing else.
        assert not select.select([sock], [], [], 0)[0]
        assert sock.direct is None
        assert sock.gettimeout() == 30
        assert select.select([sock], [], [], 60)[0]
    assert client.connection.read_response() == 1
    assert client.incr("n") == 2
    assert_data(server, {(0, "n"): "2"})


# Until redis-py 5.2 a pool has to be told for which command; later versions warn of that.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_connection_with_unread_data_is_not_given_away(one_server):
    # With RESP3 redis-py takes what is unread for a notification.
    pool = unbusy.ConnectionPool(port=one_server.port, max_connections=1, protocol=2)
    connection = pool.get_connection("INCR")
    connection.send_command("INCR", "n")
    pool.release(connection)
    client = redis.Redis(connection_pool=pool)
    wait_until("it was not executed", lambda: client_of(one_server).get("n") == "1")
    assert client.get("n") == b"1"


def test_a_single_connection(one_server):
    with client_of(one_server, single_connection_client=True) as client:
        assert isinstance(client.connection, unbusy.Connection)
        with BusyScript(one_server) as script, script.holds():
            assert client.incr("n") == 1


def test_a_pool_of_plain_connections_is_refused(one_server):
    with pytest.raises(TypeError, match=r"unbusy\.ConnectionPool"):
        unbusy.Redis(connection_pool=redis.ConnectionPool(port=one_server.port))


def test_a_time_out_does_not_strike_held_commands(server):
    """Neither while the server is busy nor in the silence before; the client tries again as redis-py does by default."""
    client = unbusy.Redis(port=server.port, socket_timeout=SCRIPT_MS / 8000)
    assert client.ping()
    with BusyScript(server) as script, script.holds():
        assert client.incr("n") == 1
    with server.paused():
        threading.Timer(SCRIPT_MS / 2000, server.resume).start()
        assert client.incr("n") == 2
    assert_data(server, {(0, "n"): "2"})


def test_a_time_out_strikes_large_values_no_sooner(one_server):
    client = client_of(one_server, socket_timeout=SCRIPT_MS / 8000)
    assert client.ping()
    with BusyScript(one_server, must_reject=False) as script, script.holds():
        assert client.set("big", "x" * 20_000_000)


def test_a_server_that_is_lost_is_noticed(one_server, monkeypatch):
    monkeypatch.setattr(_patience, "SILENCE", 0.5)
    client = client_of(one_server, socket_timeout=0.1)
    assert client.ping()
    with one_server.paused():
        begun = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            client.incr("n")
        assert 0.5 <= time.monotonic() - begun < 2


def test_waiting_for_a_message_takes_no_longer_than_asked(one_server):
    pubsub = client_of(one_server, socket_timeout=0.1).pubsub()
    pubsub.subscribe("a")
    assert scenarios.next_message(pubsub, "subscribe")
    with BusyScript(one_server, must_reject=False):
        begun = time.monotonic()
        assert pubsub.get_message(timeout=0.1) is None
        assert time.monotonic() - begun < 0.5
    pubsub.close()


def test_no_server():
    with pytest.raises(redis.ConnectionError, match="refused"):
        unbusy.Redis(port=1, retry=NO_RETRIES).ping()
    with pytest.raises(redis.ConnectionError):
        unbusy.Redis(unix_socket_path="/nowhere", retry=NO_RETRIES).ping()


def test_the_budget(one_server):
    impatient = client_of(one_server, max_wait=0.3)
    off = client_of(one_server, max_wait=0)
    assert impatient.ping() and off.ping()
    with BusyScript(one_server):
        with pytest.raises(redis.ResponseError, match="^BUSY|BUSY Redis is busy|Redis is busy"):
            off.incr("n")
        begun = time.monotonic()
        with pytest.raises(redis.ResponseError, match="busy"):
            impatient.incr("n")
        assert 0.25 < time.monotonic() - begun < 0.8


def test_the_older_name_of_the_budget(one_server):
    with pytest.warns(DeprecationWarning, match="max_wait"):
        client = unbusy.Redis(port=one_server.port, lua_retry_time=0)
    with BusyScript(one_server), pytest.raises(redis.ResponseError, match="busy"):
        client.ping()


@pytest.mark.parametrize("ends_the_sleep", [True, False])
def test_ctrl_c_is_immediate(one_server, ends_the_sleep):
    """Also if the signal comes at a moment at which the thread that waits does not sleep."""

    def send_signal():
        if ends_the_sleep:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    client = client_of(one_server)
    assert client.ping()
    # A shell lets its background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with BusyScript(one_server, 2 * SCRIPT_MS):
        begun = time.monotonic()
        threading.Timer(0.1, send_signal).start()
        with pytest.raises(KeyboardInterrupt):
            client.incr("n")
        assert time.monotonic() - begun < SCRIPT_MS / 1000
    signal.signal(signal.SIGINT, before)
    assert one_server.direct.get("n") is None


def test_a_forked_process(one_server):
    """It has an engine of its own, and the parent's connections end although it has copies of their sockets."""
    client = client_of(one_server)
    number = client.client_id()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert client.incr("n") == 1
            wait_until("the parent's turn is over", lambda: client.get("over"))
            code = 0
        finally:
            os._exit(code)
    try:
        wait_until("the child is there", lambda: one_server.direct.get("n"))
        with BusyScript(one_server) as script, script.holds():
            assert client.incr("m") == 1
        client.close()
        wait_until("the connection has ended", lambda: number not in one_server.connections())
    finally:
        one_server.direct.set("over", 1)
        assert os.waitpid(child, 0)[1] == 0


def test_the_end_of_a_process_waits_for_nobody(one_server):
    program = """
        import sys, threading, unbusy
        r = unbusy.Redis(port=int(sys.argv[1]))
        r.ping()
        print("ready", flush=True)
        sys.stdin.readline()
        threading.Thread(target=r.incr, args=("n",), daemon=True).start()
        import time; time.sleep(0.2)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(one_server.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with BusyScript(one_server, must_reject=False):
            begun = time.monotonic()
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.wait(5) == 0
            assert time.monotonic() - begun < SCRIPT_MS / 1000


class OfAnotherLibrary(redis.Connection):
    """As kombu has one."""


class ToAFake(redis.Connection):
    def _connect(self):
        raise ConnectionRefusedError("this is a fake")


def test_install(one_server):
    """All of redis-py's connections wait, but for those that connect in a way of their own."""
    unbusy.install()
    try:
        pools = [
            redis.ConnectionPool(connection_class=kind, port=one_server.port, **OWN_OPTIONS)
            for kind in (redis.Connection, OfAnotherLibrary)
        ]
        clients = [redis.Redis(connection_pool=pool) for pool in pools]
        clients.append(redis.Redis(port=one_server.port, socket_timeout=SCRIPT_MS / 8000))
        assert all(client.ping() for client in clients)
        with BusyScript(one_server) as script:
            script.holds_all({str(n): partial(client.incr, "n") for n, client in enumerate(clients)})
        fake = redis.Redis(connection_pool=redis.ConnectionPool(connection_class=ToAFake, retry=NO_RETRIES))
        with pytest.raises(redis.ConnectionError, match="this is a fake"):
            fake.ping()
    finally:
        unbusy.uninstall()
    plain = one_server.client()
    with BusyScript(one_server), pytest.raises(redis.ResponseError, match="busy"):
        plain.incr("n")
    assert_data(one_server, {(0, "n"): "3"})


def test_classes_of_others_are_not_kept():
    """Some libraries make one for each of their connections."""
    unbusy.install()
    try:
        kinds = [type("Connection", (redis.Connection,), {}) for _ in range(10)]
        assert all(isinstance(kind(), unbusy._sync.Held) for kind in kinds)
        left = [weakref.ref(kind) for kind in kinds]
        del kinds
        # Those that wait go first, and then those from which they were made.
        gc.collect()
        gc.collect()
        assert not any(kind() for kind in left)
    finally:
        unbusy.uninstall()


def test_connections_for_pools_of_others(one_server):
    pool = redis.ConnectionPool(connection_class=unbusy.Connection, port=one_server.port, max_wait=60)
    client = redis.Redis(connection_pool=pool)
    with BusyScript(one_server) as script, script.holds():
        assert client.incr("n") == 1


def test_threads_share_a_pool(one_server):
    pool = unbusy.BlockingConnectionPool(max_connections=5, timeout=20, port=one_server.port)
    client = unbusy.Redis(connection_pool=pool)

    def count():
        for _ in range(50):
            client.incr("n")

    with BusyScript(one_server) as script:
        script.holds_all({str(n): count for n in range(20)})
    assert_data(one_server, {(0, "n"): "1000"})


def test_the_demonstration():
    program = os.environ["UNBUSY_TEST_REDIS_7_0"]
    command = [sys.executable, "-m", "unbusy", "demo", "--server", program]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert shown.returncode == 0, shown
    assert "unbusy.Redis: 1 after" in shown.stdout


def test_one_notice_for_all_who_wait(one_server, caplog):
    """In the log and to those who asked to be called."""
    caplog.set_level("INFO", logger="unbusy")
    heard = []
    options = {"on_busy": partial(heard.append, "busy"), "on_free": partial(heard.append, "free")}
    clients = [client_of(one_server, **options) for _ in range(5)]
    assert all(client.ping() for client in clients)
    with BusyScript(one_server) as script:
        script.holds_all({str(n): partial(client.incr, "n") for n, client in enumerate(clients)})
    wait_until("both were heard", lambda: len(heard) >= 2)
    assert heard == ["busy", "free"]
    busy, free = (record.getMessage() for record in caplog.records)
    assert busy == f"localhost:{one_server.port} is busy (script); commands wait"
    assert (
        free.startswith(f"localhost:{one_server.port} accepts commands again after") and "5 commands" in free
    )


def test_a_callback_that_fails_spoils_nothing(one_server, caplog):
    def fail():
        raise ZeroDivisionError

    client = client_of(one_server, on_busy=fail)
    assert client.ping()
    with BusyScript(one_server) as script, script.holds():
        assert client.incr("n") == 1
    wait_until("the failure is logged", lambda: "ZeroDivisionError" in caplog.text)


def test_sub_interpreters_are_refused():
    program = """
        import sys
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        program = "try:\\n import unbusy\\nexcept ImportError as error: print(error)"
        run = getattr(interpreters, "exec", None) or interpreters.run_string
        run(interpreters.create(), f"import sys; sys.path = {sys.path!r}\\n{program}")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert "works in the main interpreter of a process only" in shown.stdout, shown
