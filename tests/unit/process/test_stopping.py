"""Waits that end with the word to stop."""

import asyncio

import pytest

from components.process.stopping import Stopped, unless_stopped


async def test_the_work_is_cancelled_when_the_word_comes_first() -> None:
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    asyncio.get_running_loop().call_soon(stop.set)
    with pytest.raises(Stopped):
        await unless_stopped(stop, for_ever())
    assert cancelled.is_set()


async def test_what_the_work_gives_or_raises_is_passed_on() -> None:
    async def work() -> int:
        return 7

    async def fails() -> None:
        raise ValueError("no")

    assert await unless_stopped(asyncio.Event(), work()) == 7
    with pytest.raises(ValueError, match="no"):
        await unless_stopped(asyncio.Event(), fails())


async def test_work_that_is_done_when_the_word_comes_counts() -> None:
    stop = asyncio.Event()

    async def work() -> int:
        stop.set()
        return 7

    assert await unless_stopped(stop, work()) == 7


async def test_a_cancelled_caller_leaves_nothing_running() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def for_ever() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(unless_stopped(asyncio.Event(), for_ever()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
