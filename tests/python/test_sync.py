"""redis-py, unchanged, through the proxy while the server is busy: no errors, and the data of one run."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis

from harness import (
    ALLOWED_WHILE_BUSY,
    LOGINS,
    NO_RETRIES,
    PATIENCE,
    UNTIL_KILLED,
    BusyScript,
    Proxy,
    Server,
    assert_data,
    data_of_one_run,
    wait_until,
)

COUNT = 100
LIBRARY = """#!lua name=lib
redis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)
"""


# Each scenario works on keys of its own, so that all can run at once; the data do not depend on time.


def single_commands(r: redis.Redis) -> None:
    assert r.set("single", "value")
    assert r.get("single") == "value"
    assert [r.incr("single:n") for _ in range(COUNT)] == list(range(1, COUNT + 1))
    assert r.rpush("single:list", "a", "b", "c") == 3
    assert r.lpop("single:list") == "a"
    assert r.hset("single:hash", mapping={"f": 1, "g": 2}) == 2
    assert r.sadd("single:set", "x", "y") == 2
    assert r.zadd("single:zset", {"one": 1, "two": 2}) == 2
    assert r.xadd("single:stream", {"f": "v"}, id="1-1") == "1-1"
    assert r.set("single:absent", "", xx=True) is None


def pipeline(r: redis.Redis) -> None:
    with r.pipeline(transaction=False) as pipe:
        for n in range(COUNT):
            pipe.incr("pipeline").rpush("pipeline:list", n)
        replies = pipe.execute()
    assert replies[::2] == replies[1::2] == list(range(1, COUNT + 1))


def pipeline_with_an_error(r: redis.Redis) -> None:
    """An error that is the client's own fault stays where it belongs."""
    with r.pipeline(transaction=False) as pipe:
        pipe.set("mixed", "text").incr("mixed").incr("mixed:n")
        first, second, third = pipe.execute(raise_on_error=False)
    assert first is True and isinstance(second, redis.ResponseError) and third == 1


def transaction(r: redis.Redis) -> None:
    with r.pipeline() as pipe:
        for n in range(COUNT):
            pipe.incr("transaction").rpush("transaction:list", n)
        replies = pipe.execute()
    assert replies[::2] == replies[1::2] == list(range(1, COUNT + 1))


def watch(r: redis.Redis) -> None:
    def double(pipe) -> None:
        value = int(pipe.get("watch") or 1)
        pipe.multi()
        pipe.set("watch", 2 * value)

    for _ in range(5):
        assert r.transaction(double, "watch") == [True]
    assert r.get("watch") == "32"


def watch_by_hand(r: redis.Redis) -> None:
    with r.pipeline() as pipe:
        while True:
            try:
                pipe.watch("hand")
                value = int(pipe.get("hand") or 0)
                pipe.multi()
                pipe.set("hand", value + 1)
                pipe.get("hand")
                assert pipe.execute() == [True, "1"]
                return
            except redis.WatchError:
                continue


def scripts(r: redis.Redis) -> None:
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [add(keys=["script"], args=[n]) for n in (1, 2, 3)] == [1, 3, 6]
    assert r.eval("return redis.call('INCR', KEYS[1])", 1, "script") == 7


def functions(r: redis.Redis) -> None:
    assert [r.fcall("add", 1, "function", n) for n in (1, 2, 3)] == [1, 3, 6]


def administration(r: redis.Redis) -> None:
    assert r.info()["role"] == "master"
    assert r.client_id() > 0
    assert any(client["cmd"].startswith("client") for client in r.client_list())
    assert r.dbsize() > 0
    assert r.config_get("maxmemory") == {"maxmemory": "0"}
    assert r.ping() and r.echo("x") == "x" and r.time()[0] > 0


def iteration(r: redis.Redis) -> None:
    keys = {f"scanned:{n}" for n in range(500)}
    assert r.mset(dict.fromkeys(keys, ""))
    assert set(r.scan_iter("scanned:*")) == keys
    assert r.sadd("members", *keys) == len(keys)
    assert set(r.sscan_iter("members")) == keys


def lock(r: redis.Redis) -> None:
    for _ in range(3):
        with r.lock("lock", timeout=PATIENCE, blocking_timeout=PATIENCE):
            r.incr("locked")


def blocking_commands(r: redis.Redis) -> None:
    assert r.rpush("blocking", "x", "y") == 2
    assert r.blpop("blocking", timeout=PATIENCE) in [("blocking", "x"), ["blocking", "x"]]
    assert r.xadd("blocking:stream", {"f": "v"}, id="1-1") == "1-1"
    assert r.xread({"blocking:stream": "0"}, block=int(PATIENCE * 1000))
    assert r.blpop("nothing", timeout=0.05) is None


def big_values(r: redis.Redis) -> None:
    value = "x" * 5_000_000
    assert r.set("big", value)
    assert r.get("big") == value


SCENARIOS = [
    single_commands,
    pipeline,
    pipeline_with_an_error,
    transaction,
    watch,
    watch_by_hand,
    scripts,
    administration,
    iteration,
    lock,
    blocking_commands,
    big_values,
]


def test_scenarios(server: Server, proxy: Proxy, protocol: int) -> None:
    scenarios = list(SCENARIOS)
    if server.has_functions:
        server.direct.function_load(LIBRARY)
        scenarios.append(functions)

    def one_run() -> None:
        with server.client() as direct:
            for scenario in scenarios:
                scenario(direct)

    expected = data_of_one_run(server, one_run)
    clients = {scenario: proxy.client(protocol=protocol) for scenario in scenarios}
    connections = {client.client_id() for client in clients.values()}
    with BusyScript(server) as script:
        work = {scenario.__name__: partial(scenario, client) for scenario, client in clients.items()}
        script.holds_all(work)
    assert connections <= server.connections(), "a connection was replaced"
    assert_data(server, expected)


def test_each_command_is_held_by_itself(server: Server, proxy: Proxy) -> None:
    """Many kinds of commands as the first one that meets a busy server."""
    commands = {
        "GET": lambda r: r.get("absent") is None,
        "INCR": lambda r: r.incr("n") == 1,
        "BLPOP": lambda r: r.blpop("popped", timeout=0)[1] == "a",
        "BLMOVE": lambda r: r.blmove("list", "moved", 0, "LEFT", "RIGHT") == "a",
        "XREAD": lambda r: len(r.xread({"stream": "0"}, block=0)) == 1,
        "EVAL": lambda r: r.eval("return redis.call('INCR', KEYS[1])", 1, "eval") == 1,
        "SCRIPT LOAD": lambda r: len(r.script_load("return 1")) == 40,
        "SCRIPT EXISTS": lambda r: r.script_exists("0" * 40) == [False],
        "INFO": lambda r: r.info()["role"] == "master",
        "CLIENT LIST": lambda r: len(r.client_list()) > 1,
        "CLIENT ID": lambda r: r.client_id() > 0,
        "CLIENT SETNAME": lambda r: r.client_setname("somebody"),
        "SCAN": lambda r: "list" in list(r.scan_iter()),
        "WAIT": lambda r: r.wait(0, 10) == 0,
        "PUBLISH": lambda r: r.publish("channel", "x") == 0,
        "OBJECT": lambda r: r.object("refcount", "list") >= 1,
        "CONFIG GET": lambda r: r.config_get("port") == {"port": str(server.port)},
        "DBSIZE": lambda r: r.dbsize() >= 2,
        "SELECT": lambda r: r.execute_command("SELECT", 3) and r.set("here", "3"),
    }

    def prepare() -> None:
        server.direct.rpush("list", *"abcdefgh")
        server.direct.rpush("popped", *"abcdefgh")
        server.direct.xadd("stream", {"f": "v"}, id="1-1")

    def run(name: str, client: redis.Redis) -> None:
        assert commands[name](client)

    def one_run() -> None:
        prepare()
        for name in commands:
            with server.client(single_connection_client=True) as direct:
                run(name, direct)

    expected = data_of_one_run(server, one_run)
    prepare()
    clients = {name: proxy.client(single_connection_client=True) for name in commands}
    for client in clients.values():
        assert client.ping()
    with BusyScript(server) as script:
        work = {name: partial(run, name, client) for name, client in clients.items()}
        script.holds_all(work, but=ALLOWED_WHILE_BUSY.get(server.name, frozenset()))
    assert_data(server, expected)


def test_a_lost_race(server: Server, proxy: Proxy) -> None:
    """Another client changes the watched key while the transaction is held: null, never a commit."""
    server.direct.set("k", 1)
    with proxy.client() as client, client.pipeline() as pipe:
        pipe.watch("k")
        assert pipe.get("k") == "1"
        server.direct.set("k", 100)
        pipe.multi()
        pipe.set("k", 2)
        with BusyScript(server), pytest.raises(redis.WatchError):
            pipe.execute()
    assert_data(server, {(0, "k"): "100"})


def test_new_connections(server: Server, proxy: Proxy, protocol: int) -> None:
    """Connections that are made while the server is busy, each with all that a client can ask for at its start."""
    dbs = range(8)
    options = {"client_name": "tester", "protocol": protocol, "health_check_interval": 1}
    clients = [proxy.client(db=db, **options) for db in dbs for _ in range(2)]
    with BusyScript(server) as script:
        script.holds_all({str(n): partial(client.incr, "k") for n, client in enumerate(clients)})
    for client in clients:
        assert client.client_getname() == "tester"
    assert_data(server, {(db, "k"): "2" for db in dbs})


def protocol_in(hello: dict | list) -> int:
    return dict(hello if isinstance(hello, dict) else zip(hello[::2], hello[1::2]))["proto"]


def test_new_connections_with_everything_at_once(
    guarded_server: Server, guarded_proxy: Proxy, protocol: int
) -> None:
    """A login, a protocol, a name and a database, all asked for while the server is busy."""
    server, proxy = guarded_server, guarded_proxy
    options = {"protocol": protocol, "client_name": "tester", "db": 1}
    clients = [(user, proxy.client(**options, **login)) for user, login in LOGINS.items() for _ in range(2)]
    logged_in_before = proxy.client(**options, **LOGINS["app"])
    assert logged_in_before.incr("k") == 1
    with BusyScript(server) as script:
        work = {f"{n}: {user}": partial(client.incr, "k") for n, (user, client) in enumerate(clients)}
        script.holds_all(work | {"logged in before": partial(logged_in_before.incr, "k")})
    for user, client in clients:
        assert (client.acl_whoami(), client.client_getname()) == (user, "tester")
        assert protocol_in(client.execute_command("HELLO")) == protocol
    assert_data(server, {(1, "k"): "6"})


def test_a_client_without_the_password_is_refused(guarded_proxy: Proxy) -> None:
    with pytest.raises(redis.AuthenticationError):
        guarded_proxy.client().get("k")


def next_message(pubsub, kind: str) -> dict:
    found = None

    def arrived() -> bool:
        nonlocal found
        found = pubsub.get_message(timeout=0.1)
        return found is not None

    wait_until(f"a {kind}", arrived)
    assert found["type"] == kind, found
    return found


def test_subscriptions(server: Server, proxy: Proxy, protocol: int) -> None:
    publisher = proxy.client(protocol=protocol)
    pubsub = proxy.client(protocol=protocol).pubsub()
    assert publisher.ping()
    with BusyScript(server) as script, script.holds():
        pubsub.subscribe("a", "b")
        pubsub.psubscribe("p*")
        confirmed = [
            next_message(pubsub, kind)["channel"] for kind in ("subscribe", "subscribe", "psubscribe")
        ]
    assert confirmed == ["a", "b", "p*"]
    with BusyScript(server) as script, script.holds():
        assert publisher.publish("a", "1") == 1
        assert publisher.publish("pattern", "2") == 1
    assert next_message(pubsub, "message")["data"] == "1"
    assert next_message(pubsub, "pmessage")["data"] == "2"
    with BusyScript(server) as script, script.holds():
        if protocol == 2:
            # In RESP3 the library takes this answer apart as if it were a message.
            pubsub.ping("still there")
            assert next_message(pubsub, "pong")["data"] == "still there"
        pubsub.unsubscribe("a")
        assert next_message(pubsub, "unsubscribe")["channel"] == "a"
    assert publisher.publish("a", "3") == 0
    assert publisher.publish("b", "4") == 1
    assert next_message(pubsub, "message")["data"] == "4"
    pubsub.close()
    assert_data(server, {})


def test_sharded_subscriptions(server: Server, proxy: Proxy, protocol: int) -> None:
    if not server.has_functions:
        pytest.skip("sharded channels came with Redis 7.0")
    pubsub = proxy.client(protocol=protocol).pubsub()
    publisher = proxy.client(protocol=protocol)
    with BusyScript(server) as script, script.holds():
        pubsub.ssubscribe("shard")
        assert next_message(pubsub, "ssubscribe")["channel"] == "shard"
    with BusyScript(server) as script, script.holds():
        assert publisher.spublish("shard", "x") == 1
    assert next_message(pubsub, "smessage")["data"] == "x"
    pubsub.close()
    assert_data(server, {})


def test_a_pool_shared_by_threads(server: Server, proxy: Proxy) -> None:
    threads, each = 20, 50
    options = {"max_connections": 10, "timeout": PATIENCE, "retry": NO_RETRIES}
    pool = redis.BlockingConnectionPool(port=proxy.port, **options)
    client = redis.Redis(connection_pool=pool)

    def work(n: int) -> None:
        for i in range(each):
            client.incr("counter")
            with client.pipeline(transaction=i % 2 == 0) as pipe:
                pipe.rpush(f"list:{n}", i).incr("pipelined").execute()

    with BusyScript(server) as script:
        script.holds_all({f"thread {n}": partial(work, n) for n in range(threads)})
    expected = {(0, f"list:{n}"): [str(i) for i in range(each)] for n in range(threads)}
    expected |= {(0, "counter"): str(threads * each), (0, "pipelined"): str(threads * each)}
    assert_data(server, expected)
    pool.disconnect()


def very_big_value() -> bytes:
    return bytes(range(256)) * (100_000_000 // 256)


def test_a_very_big_value(server: Server, proxy: Proxy) -> None:
    value = very_big_value()
    client = proxy.client(decode_responses=False, socket_timeout=PATIENCE)
    assert client.ping()
    # The server may take longer than the script to read the value, and then has nothing to reject.
    with BusyScript(server, must_reject=False) as script, script.holds():
        assert client.set("big", value)
    with BusyScript(server) as script, script.holds():
        assert client.get("big") == value
    assert_data(server, {(0, "big"): value.decode("latin-1")})


def test_a_very_big_value_behind_a_held_command(server: Server, proxy: Proxy) -> None:
    """The proxy knows that the server is busy, and keeps the value until it is not."""
    value = very_big_value()
    first, second = proxy.client(socket_timeout=PATIENCE), proxy.client(socket_timeout=PATIENCE)
    assert first.ping() and second.ping()
    with BusyScript(server, UNTIL_KILLED) as script, ThreadPoolExecutor() as pool:
        held = [pool.submit(first.incr, "n")]
        proxy.wait_log("commands are held")
        held.append(pool.submit(second.set, "big", value))
        wait_until("the proxy has the value", lambda: proxy.memory() > len(value))
        assert not any(answer.done() for answer in held), "answered while the script ran"
        script.kill()
        assert [answer.result() for answer in held] == [1, True]
    assert_data(server, {(0, "big"): value.decode("latin-1"), (0, "n"): "1"})


def test_a_connection_outlives_many_scripts(server: Server, proxy: Proxy) -> None:
    """redis-py's pool replaces a connection that was closed in between without a word."""
    client = proxy.client(socket_timeout=PATIENCE)
    ids = {client.client_id()}
    for _ in range(3):
        with BusyScript(server, 500) as script, script.holds():
            assert client.incr("k")
        ids.add(client.client_id())
    assert len(ids) == 1, "the connection was replaced"
    assert_data(server, {(0, "k"): "3"})
