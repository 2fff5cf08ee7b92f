"""Load that a measurement relies on is posted, or the measurement fails."""

import asyncio
import random
from typing import Any

import pytest

from components.bench.posting import Chatter, Posting, posting
from components.simulator.client import ControlError, GuildInfo, Person, SimulatorControl

GUILD = GuildInfo(
    id=1,
    name="town",
    owner_id=2,
    channels={"general": 3},
    roles={},
    members=[Person(id=4, username="poster")],
    applications=[],
)


class Control(SimulatorControl):
    """Takes ``most`` messages and refuses what comes after them."""

    def __init__(self, most: int) -> None:
        super().__init__("http://nowhere")
        self._left = most
        self.taken = asyncio.Event()
        self.refused = asyncio.Event()

    async def post_many(self, messages: Any) -> Any:
        self._left -= len(messages)
        if self._left < 0:
            self.refused.set()
            raise ControlError(500, "no more")
        self.taken.set()


async def test_posting_that_ended_early_fails_the_measurement() -> None:
    control = Control(most=0)
    with pytest.raises(ControlError, match="no more"):
        async with posting(control, [GUILD], 1000.0, random.Random(1)):
            await control.refused.wait()


async def test_what_fails_beside_the_posting_is_not_hidden_by_it() -> None:
    control = Control(most=0)

    async def measure() -> None:
        async with posting(control, [GUILD], 1000.0, random.Random(1)):
            await control.refused.wait()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await measure()


async def test_posting_ends_with_the_block() -> None:
    control = Control(most=10**9)
    before = asyncio.all_tasks()
    async with posting(control, [GUILD], 1000.0, random.Random(1)) as load:
        await control.taken.wait()
        assert load.figure().value > 0
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(("after_s", "ok"), [(1.0, True), (1.2, False)])
async def test_less_than_nine_tenths_of_the_rate_breaks_the_limit(
    after_s: float, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 messages, after which nothing more was taken, by a clock of the test."""
    clock = [0.0]
    monkeypatch.setattr("components.bench.posting.steady_s", lambda: clock[0])
    control = Control(most=100)
    load = Posting(control, Chatter([GUILD], random.Random(1)), rate=100.0)
    clock[0] = 1.0
    task = asyncio.create_task(load.run())
    await control.taken.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    clock[0] = after_s
    figure = load.figure()
    assert figure.name == "posted_per_s"
    assert figure.value == pytest.approx(100 / after_s, abs=0.1)
    assert figure.ok is ok


def test_nobody_says_the_same_again_in_the_next_part_of_a_measurement() -> None:
    """A member's second copy is spam, and a deletion is not what is measured."""
    said = [
        message["content"]
        for _ in range(2)
        for message in Chatter([GUILD], random.Random(1)).messages(3)
    ]
    assert len(set(said)) == 6
