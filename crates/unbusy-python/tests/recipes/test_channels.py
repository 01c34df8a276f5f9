"""Layers of Channels while the server is busy: every message arrives, once."""

import asyncio

import pytest
from channels.layers import ChannelLayerManager
from conftest import SCRIPT_MS
from django.test import override_settings
from test_asyncio import busy, held

MESSAGES = [{"type": "test.message", "number": number} for number in range(20)]


@pytest.mark.parametrize("kind", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
def test_channels(recipe, one_server, kind):
    layers = recipe("Channels").module().CHANNEL_LAYERS
    layers["default"]["BACKEND"] = f"channels_redis.{kind}"

    async def talk():
        with override_settings(CHANNEL_LAYERS=layers):
            layer = ChannelLayerManager()["default"]
        one, other = await layer.new_channel(), await layer.new_channel()
        await layer.group_add("all", one)
        # It waits for a message when the script begins.
        waiting = asyncio.create_task(received(layer, one, 1))
        await asyncio.sleep(0.1)
        async with busy(one_server, SCRIPT_MS) as script:
            joining = layer.group_add("all", other)
            await asyncio.gather(joining, held(script, sent(layer, one, MESSAGES)))
        assert await waiting + await received(layer, one, len(MESSAGES) - 1) == list(range(len(MESSAGES)))
        await layer.group_send("all", MESSAGES[7])
        assert await received(layer, one, 1) == await received(layer, other, 1) == [7]
        await layer.flush()

    asyncio.run(talk())


async def sent(layer, channel, messages):
    for message in messages:
        await layer.send(channel, message)


async def received(layer, channel, count):
    return [(await layer.receive(channel))["number"] for _ in range(count)]
