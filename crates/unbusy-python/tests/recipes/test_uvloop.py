"""All that is tried with asyncio, once more with uvloop."""

import asyncio

import pytest
import uvloop
from test_package_asyncio import *  # noqa: F403
from test_package_transport import *  # noqa: F403


@pytest.fixture(autouse=True)
def loops_of_uvloop():
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)


def test_that_it_is_uvloop():
    async def loop():
        return asyncio.get_running_loop()

    assert isinstance(asyncio.run(loop()), uvloop.Loop)
