"""Caches while the server is busy: nothing fails, nothing is done twice."""

from functools import partial

import pytest
from django.core.cache import CacheHandler
from redis.exceptions import ResponseError

AT_ONCE = 8


def use(cache, number):
    """What applications do with it."""
    cache.set(f"value-{number}", {"number": number})
    assert cache.get(f"value-{number}") == {"number": number}
    assert cache.add(f"value-{number}", 0) is False
    cache.set_many({f"a-{number}": 1, f"b-{number}": [2]})
    assert cache.get_many([f"a-{number}", f"b-{number}"]) == {f"a-{number}": 1, f"b-{number}": [2]}
    cache.delete_many([f"a-{number}", f"b-{number}"])
    assert cache.get(f"a-{number}") is None


def use_and_count(cache, number):
    use(cache, number)
    for _ in range(10):
        cache.incr("visits")


@pytest.mark.parametrize("title", ["Django", "django-redis"])
def test_django(recipe, busy, title):
    cache = CacheHandler(recipe(title).module().CACHES)["default"]
    cache.set("visits", 0)
    with busy() as script:
        script.holds_all({str(n): partial(use_and_count, cache, n) for n in range(AT_ONCE)})
    assert cache.get("visits") == AT_ONCE * 10


@pytest.mark.parametrize(
    ("title", "options"),
    [("Django", {"max_wait": 0.2}), ("django-redis", {"CONNECTION_POOL_KWARGS": {"max_wait": 0.2}})],
)
def test_that_django_waits_no_longer_than_it_should(recipe, busy, title, options):
    caches = recipe(title).module().CACHES
    caches["default"]["OPTIONS"] |= options
    cache = CacheHandler(caches)["default"]
    cache.set("visits", 0)
    with busy(), pytest.raises(ResponseError, match="busy"):
        cache.incr("visits")
    assert cache.get("visits") == 0


def test_sessions_of_django(recipe, busy):
    from django.contrib.sessions.backends.cache import SessionStore

    session = SessionStore()
    session._cache = CacheHandler(recipe("Django").module().CACHES)["default"]
    with busy() as script, script.holds():
        session["cart"] = [1, 2]
        session.save()
    again = SessionStore(session.session_key)
    again._cache = session._cache
    assert again["cart"] == [1, 2]


def test_flask_caching(recipe, busy):
    tasks = recipe("Flask-Caching").module()
    made = []

    @tasks.cache.memoize()
    def square(number):
        made.append(number)
        return number * number

    def work(number):
        with tasks.app.app_context():
            assert square(number) == square(number) == number * number
            tasks.cache.set_many({f"a-{number}": 1})
            assert tasks.cache.get_dict(f"a-{number}") == {f"a-{number}": 1}

    # The first ones agree on the function's version, which is kept in the cache, too.
    work(0)
    with busy() as script:
        script.holds_all({str(n): partial(work, n) for n in range(AT_ONCE)})
    assert sorted(made) == list(range(AT_ONCE))
