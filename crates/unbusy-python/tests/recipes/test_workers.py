"""Workers in processes of their own: a long script, and each job is executed once."""

import json
from functools import partial
from urllib.request import urlopen

import pytest
from celery import chord
from conftest import SCRIPT_MS
from harness import PATIENCE, all_at_once, wait_until
from test_package_topologies import free_port

BEFORE, WHILE_BUSY, AFTER = 12, 20, 4
ALL = list(range(BEFORE + WHILE_BUSY + AFTER))
# So that some run and some wait when the script begins.
JOB = """
import time

def work(number):
    time.sleep(0.05)
    with open("done", "a") as done:
        done.write(f"{number}\\n")
    return number
"""

# It would try again what fails, for long even if the server is gone; here nothing may fail.
CELERY = JOB + """
app.conf.task_publish_retry = False
app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
"""


def sent(send, busy):
    """What became of the jobs: some were sent before the script, some while it ran, and some afterwards."""
    results = {number: send(number) for number in ALL[:BEFORE]}

    def send_one(number):
        results[number] = send(number)

    with busy() as script:
        script.holds_all({str(number): partial(send_one, number) for number in ALL[BEFORE:-AFTER]})
    all_at_once({str(number): partial(send_one, number) for number in ALL[-AFTER:]})
    return [results[number] for number in ALL]


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_celery(recipe, busy, pool):
    celery = recipe("Celery")
    tasks = celery.module(CELERY + "\njob = app.task(name='job')(work)\n")
    with celery.worker("ready.", "--pool", pool):
        results = sent(tasks.job.delay, busy)
        assert [result.get(timeout=PATIENCE) for result in results] == ALL
        assert tasks.app.control.ping(), "the worker does not listen any more"
    assert celery.done() == ALL


def test_celery_with_jobs_that_are_acknowledged_late_and_jobs_in_groups(recipe, busy):
    """A group's jobs are counted by the server, and their end starts another."""
    celery = recipe("Celery")
    tasks = celery.module(
        CELERY + "\njob = app.task(name='job', acks_late=True)(work)\n"
        "\n@app.task\ndef sum_up(numbers):\n    return sum(numbers)\n"
    )
    with celery.worker("ready."):
        first = chord(tasks.job.s(number) for number in ALL[:BEFORE])(tasks.sum_up.s())
        with busy() as script, script.holds():
            second = chord(tasks.job.s(number) for number in ALL[BEFORE:])(tasks.sum_up.s())
        assert first.get(timeout=PATIENCE) + second.get(timeout=PATIENCE) == sum(ALL)
    assert celery.done() == ALL


def test_rq(recipe, busy):
    rq = recipe("RQ")
    queue = rq.module(JOB).queue
    with rq.worker("Listening on"):
        jobs = sent(lambda number: queue.enqueue("tasks.work", number), busy)
        wait_until("all jobs are finished", lambda: queue.finished_job_registry.count == len(ALL))
    assert [job.return_value() for job in jobs] == ALL
    assert rq.done() == ALL
    assert queue.failed_job_registry.count == 0


def test_huey(recipe, busy):
    huey = recipe("Huey")
    tasks = huey.module(JOB + "\njob = huey.task()(work)\n")
    with huey.worker("Huey consumer started"):
        results = sent(tasks.job, busy)
        assert [result.get(blocking=True, timeout=PATIENCE) for result in results] == ALL
    assert huey.done() == ALL


def test_gunicorn(recipe, busy):
    """Its workers are forked from a process with an engine."""
    flask = recipe("Flask-Caching")
    flask.module(
        "client.ping()\n"
        "@app.get('/')\n"
        "def visit():\n"
        "    cache.set('last', 'x')\n"
        "    return {'visits': client.incr('visits'), 'last': cache.get('last')}\n"
    )
    port = free_port()
    visits = []

    def visit():
        with urlopen(f"http://127.0.0.1:{port}", timeout=PATIENCE + SCRIPT_MS / 1000) as page:
            visits.append(json.load(page)["visits"])

    gunicorn = "gunicorn --preload --workers 2 --threads 4 tasks:app".split()
    with flask.process("Booting worker", *gunicorn, "--bind", f"127.0.0.1:{port}"):
        wait_until("gunicorn answers", lambda: answers(visit))
        with busy() as script:
            script.holds_all({str(n): visit for n in range(8)})
    assert sorted(visits) == list(range(1, 10))


def answers(visit):
    try:
        visit()
    except OSError:
        return False
    return True
