"""Which inputs a pod tries at the same time after a crash."""

import asyncio

from components.gateway.shell.attempts import Tries


class Trying:
    """Tries that last until they are let go of."""

    def __init__(self) -> None:
        self.tries = Tries()
        self.under_way: set[str] = set()
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, *names: str) -> None:
        """Capitals are suspected."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._run(name))
        await settled()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settled()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await settled()

    async def _run(self, name: str) -> None:
        async with self.tries.turn(alone=name.isupper()):
            self.under_way.add(name)
            try:
                await self._ends[name].wait()
            finally:
                self.under_way.discard(name)


async def settled() -> None:
    """Let everybody go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_inputs_that_nobody_suspects_are_tried_side_by_side() -> None:
    trying = Trying()
    await trying.begin("a", "b", "c")
    assert trying.under_way == {"a", "b", "c"}


async def test_a_suspected_input_is_tried_alone_and_before_what_comes_later() -> None:
    trying = Trying()
    await trying.begin("a", "b")
    await trying.begin("S", "c", "T")
    assert trying.under_way == {"a", "b"}
    await trying.end("a")
    assert trying.under_way == {"b"}
    await trying.end("b")
    assert len(trying.under_way) == 1
    (first,) = trying.under_way
    assert first in "ST"
    await trying.end(first)
    (second,) = trying.under_way
    assert {first, second} == {"S", "T"}
    await trying.end(second)
    assert trying.under_way == {"c"}


async def test_a_suspected_input_that_is_given_up_holds_up_nobody() -> None:
    trying = Trying()
    await trying.begin("a", "S", "b")
    assert trying.under_way == {"a"}
    await trying.cancel("S")
    assert trying.under_way == {"a", "b"}
    await trying.begin("T")
    await trying.end("a")
    await trying.end("b")
    assert trying.under_way == {"T"}
    await trying.cancel("T")
    await trying.begin("c")
    assert trying.under_way == {"c"}
