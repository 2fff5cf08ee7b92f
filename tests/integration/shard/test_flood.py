"""A guild that floods its log waits alone."""

import asyncio

from components.shard.appender import Appender, Dispatch
from components.shard.dispatches import Append
from components.shard.flood import FloodLimit
from contracts.ids import GuildId, SessionId
from tests.support.nats import RunningNats

LOUD, QUIET = GuildId("81384788765712384"), GuildId("81384788765712385")


def dispatch(guild: GuildId, sequence: int) -> Dispatch:
    append = Append(guild=guild, message_id=f"dsp:s:{sequence}", data=b"{}", smaller=b"{}")
    return Dispatch(session=SessionId("s"), sequence=sequence, appends=[append])


async def run(nats: RunningNats, flood: FloodLimit, *, queue: int) -> Appender:
    """200 inputs of a loud guild, then one of a quiet one; returns when that one is stored."""
    appender = Appender(
        await nats.connect("shard"),
        window=16,
        max_dispatches=queue,
        max_bytes=1_000_000,
        may_send=lambda: True,
        on_confirmed=lambda _: None,
        flood=flood,
    )
    stored = asyncio.Event()
    for sequence in range(200):
        appender.put(dispatch(LOUD, sequence))
    last = dispatch(QUIET, 200)
    last.on_stored = lambda _: stored.set()
    appender.put(last)
    task = asyncio.create_task(appender.run())
    try:
        async with asyncio.timeout(10):
            await stored.wait()
            while queue > 400 and not appender.held_back:
                await asyncio.sleep(0.01)
            if queue < 400:
                await appender.empty()
    finally:
        task.cancel()
    return appender


async def test_a_quiet_guild_does_not_wait_for_a_loud_one(nats_server: RunningNats) -> None:
    appender = await run(nats_server, FloodLimit(1, 5), queue=1_000)
    assert appender.stored < 20
    assert appender.held_back > 180


async def test_a_flood_that_takes_half_of_the_queue_is_not_limited_any_more(
    nats_server: RunningNats,
) -> None:
    appender = await run(nats_server, FloodLimit(20, 110), queue=202)
    assert appender.stored == 201
