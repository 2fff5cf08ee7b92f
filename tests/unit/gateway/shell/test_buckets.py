"""Our rate-limit buckets inside discord.py, whose private parts they stand on."""

import asyncio
import inspect

import discord
import pytest
from discord.errors import RateLimited
from discord.http import HTTPClient, Ratelimit

from components.gateway.shell.effects.buckets import MAX_WAIT_S, Bucket


def test_discord_py_still_has_what_the_buckets_stand_on() -> None:
    assert discord.__version__ == "2.7.1"
    slots = set(Ratelimit.__slots__)
    assert {"remaining", "outgoing", "expires", "_last_request", "_pending_requests"} <= slots
    assert {"_loop"} <= slots
    for name in ("_wake", "reset", "is_expired", "update", "acquire"):
        assert callable(getattr(Ratelimit, name))
    source = inspect.getsource(HTTPClient)
    assert "self.get_ratelimit(key)" in source
    assert "async with ratelimit:" in source
    assert "_try_clear_expired_ratelimits" in source


def limited(remaining: int, reset_after_s: float) -> Bucket:
    """A bucket as after a response with headers."""
    bucket = Bucket(None)
    bucket.limit, bucket.remaining, bucket.dirty = 5, remaining, True
    bucket.reset_after = reset_after_s
    bucket.expires = asyncio.get_running_loop().time() + reset_after_s
    return bucket


async def test_a_finished_request_returns_at_once_even_if_it_took_the_last_token() -> None:
    bucket = limited(1, 30.0)
    async with asyncio.timeout(0.2):
        async with bucket:
            pass
    assert bucket.remaining == 0


async def test_an_empty_bucket_is_waited_for_once() -> None:
    bucket = limited(0, 0.1)
    started = asyncio.get_running_loop().time()
    async with bucket:
        waited = asyncio.get_running_loop().time() - started
    assert 0.09 <= waited < 0.19


async def test_an_empty_bucket_that_takes_long_sends_the_effect_back() -> None:
    with pytest.raises(RateLimited):
        await limited(0, MAX_WAIT_S + 1).acquire()


async def test_a_bucket_without_headers_lets_one_after_the_other_through() -> None:
    bucket = Bucket(None)
    under_way, most = 0, 0

    async def request() -> None:
        nonlocal under_way, most
        async with bucket:
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1

    async with asyncio.timeout(2):
        await asyncio.gather(*(request() for _ in range(10)))
    assert most == 1


async def test_many_that_wait_all_get_through_after_the_reset() -> None:
    bucket = limited(0, 0.05)
    async with asyncio.timeout(2):
        await asyncio.gather(*(_once(bucket) for _ in range(12)))
    assert bucket.outgoing == 0


async def _once(bucket: Bucket) -> None:
    async with bucket:
        await asyncio.sleep(0)
