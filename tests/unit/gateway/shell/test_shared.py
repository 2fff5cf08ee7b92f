"""Many ask for the same reading; none gets one that began before it asked."""

import asyncio

import pytest

from components.gateway.shell.shared import Shared


class Source:
    """Something that grows and takes its time to read."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.answer = asyncio.Event()
        self.fails = False

    async def read(self) -> int:
        """What it is when the reading begins."""
        self.reads += 1
        value = self.value
        await self.answer.wait()
        if self.fails:
            raise OSError("not to be had")
        return value


async def _begun() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_asks_during_a_reading_shares_the_next_one() -> None:
    source = Source()
    shared = Shared(source.read)
    first = asyncio.create_task(shared.read())
    await _begun()
    source.value = 7
    later = [asyncio.create_task(shared.read()) for _ in range(20)]
    await _begun()
    source.answer.set()
    assert await first == 0
    assert set(await asyncio.gather(*later)) == {7}
    assert source.reads == 2


async def test_one_that_gives_up_takes_nothing_from_the_others() -> None:
    source = Source()
    shared = Shared(source.read)
    gone, stays = (asyncio.create_task(shared.read()) for _ in range(2))
    await _begun()
    gone.cancel()
    source.answer.set()
    assert await stays == 0
    assert source.reads == 1


async def test_a_reading_that_fails_fails_for_all_who_shared_it_and_not_for_the_next() -> None:
    source = Source()
    source.fails = True
    source.answer.set()
    shared = Shared(source.read)
    told = await asyncio.gather(shared.read(), shared.read(), return_exceptions=True)
    assert [type(one) for one in told] == [OSError, OSError]
    source.fails = False
    assert await shared.read() == 0


@pytest.mark.filterwarnings("error")
async def test_a_reading_that_nobody_waits_for_any_more_may_fail() -> None:
    source = Source()
    source.fails = True
    shared = Shared(source.read)
    gone = asyncio.create_task(shared.read())
    await _begun()
    gone.cancel()
    source.answer.set()
    await _begun()
    source.fails = False
    assert await shared.read() == 0
