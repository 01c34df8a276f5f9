"""A client of `cargo xtask torture` that uses redis-py: python.py PORT SEED PATIENCE.

Writes what it asks for and is told as lines: `line` for a new connection, whose number it reads, `ask ACT ARGUMENT…`,
`tell PLACE OUTCOME VALUE`. The place of an operation is the count of those before it on its connection. Ends when its input
does.
"""

import os
import queue
import random
import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PORT, SEED, PATIENCE = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
LEDGERS = ("ledger:a", "ledger:b")
RETRY = 0.02

chance = random.Random(SEED)
numbers: queue.Queue[str] = queue.Queue()
stopping = threading.Event()


def read_input() -> None:
    for number in sys.stdin:
        numbers.put(number.strip())
    stopping.set()
    numbers.put("")
    # Whoever started this may be gone.
    time.sleep(PATIENCE + 5)
    os._exit(1)


def say(*words) -> None:
    print(*words, flush=True)


class Line:
    """One connection."""

    def __init__(self) -> None:
        self.client = redis.Redis(
            port=PORT,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=PATIENCE,
            single_connection_client=True,
        )
        say("line")
        self.number = numbers.get(timeout=PATIENCE)
        if stopping.is_set():
            sys.exit()
        self.places = 0

    def ask(self, *words) -> str:
        say("ask", *words)
        self.places += 1
        return f"{self.number}:{self.places - 1}"

    def push(self, to) -> None:
        name = chance.choice([f"own:{self.number}", f"list:{chance.randrange(4)}"])
        to.rpush(name, self.ask("push", name))

    def count(self, to) -> None:
        name = f"counter:{chance.randrange(2)}"
        self.ask("count", name)
        to.incr(name)

    def pipeline(self, length: int) -> None:
        place = self.places
        with self.client.pipeline(transaction=False) as pipe:
            for _ in range(length):
                chance.choice([self.push, self.push, self.count])(pipe)
            results = pipe.execute(raise_on_error=False)
        for offset, result in enumerate(results):
            tell(place + offset, result)

    def plain(self) -> None:
        """One command that is no pipeline."""
        name = f"own:{self.number}"
        token = self.ask("push", name)
        try:
            tell(self.places - 1, self.client.rpush(name, token))
        except redis.ResponseError as error:
            tell(self.places - 1, error)

    def transfer(self) -> None:
        first, second = chance.sample(range(4), 2)
        first, second, amount = f"account:{first}", f"account:{second}", chance.randint(1, 9)
        token = self.ask("transfer", first, second, amount)
        try:
            with self.client.pipeline(transaction=True) as pipe:
                pipe.decrby(first, amount).incrby(second, amount)
                for ledger in LEDGERS:
                    pipe.rpush(ledger, token)
                pipe.execute()
                tell(self.places - 1, None)
        except redis.ResponseError as error:
            tell(self.places - 1, error)

    def watched(self) -> None:
        first, second = chance.sample(range(4), 2)
        first, second, amount = f"account:{first}", f"account:{second}", chance.randint(1, 9)
        token = self.ask("watched", first, second, amount)
        try:
            with self.client.pipeline() as pipe:
                pipe.watch(first, second)
                has = [int(pipe.get(account)) for account in (first, second)]
                pipe.multi()
                pipe.set(first, has[0] - amount).set(second, has[1] + amount)
                for ledger in LEDGERS:
                    pipe.rpush(ledger, token)
                pipe.execute()
                tell(self.places - 1, None)
        except redis.WatchError:
            say("tell", self.places - 1, "changed")
        except redis.ResponseError as error:
            tell(self.places - 1, error)


def tell(place: int, result) -> None:
    if isinstance(result, redis.ConnectionError | redis.TimeoutError):
        raise result
    if isinstance(result, Exception):
        # redis-py takes some codes away.
        kind = type(result).__name__
        code = "EXECABORT " if kind == "ExecAbortError" else "BUSY " if "Busy" in kind else ""
        say("tell", place, "refused", code + str(result).replace("\n", " "))
    elif isinstance(result, int):
        say("tell", place, "done", result)
    else:
        say("tell", place, "done")


def work(line: Line) -> None:
    while not stopping.is_set():
        match chance.randrange(10):
            case 0:
                line.pipeline(chance.randint(2, 100))
            case 1 | 2:
                line.transfer()
            case 3:
                line.watched()
            case _:
                line.plain()
        time.sleep(chance.uniform(0, 0.025))


threading.Thread(target=read_input, daemon=True).start()
while not stopping.is_set():
    try:
        work(Line())
    except redis.TimeoutError as error:
        say("complain", f"no answer: {error}")
    except redis.ConnectionError:
        time.sleep(RETRY)
