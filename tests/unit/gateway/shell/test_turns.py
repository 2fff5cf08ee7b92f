"""One at a time, whoever is in a hurry before the others."""

import asyncio

import pytest

from components.gateway.shell.turns import Turns


class Queue:
    """Tasks that want their turn, and the order in which they had it."""

    def __init__(self, places: int = 1, calm: int | None = None) -> None:
        self.places = places
        self.turns = Turns(places, calm=calm)
        self.had: list[str] = []
        self.together = 0

    async def take(self, name: str, *, first: bool) -> None:
        async with self.turns.turn(first=first, name=name):
            self.together += 1
            assert self.together <= self.places
            self.had.append(name)
            await asyncio.sleep(0)
            self.together -= 1

    async def asked(self, *names: str) -> list[asyncio.Task[None]]:
        """Begun in this order, while somebody has the turn; capitals are in a hurry."""
        tasks = [asyncio.create_task(self.take(name, first=name.isupper())) for name in names]
        for _ in range(3):
            await asyncio.sleep(0)
        return tasks


async def test_those_in_a_hurry_come_first_each_in_order_of_arrival() -> None:
    queue = Queue()
    async with queue.turns.turn(first=False):
        tasks = await queue.asked("a", "b", "C", "d", "E")
        assert queue.had == []
    await asyncio.gather(*tasks)
    assert queue.had == ["C", "E", "a", "b", "d"]


async def test_who_is_in_a_hurry_takes_no_turn_away_from_anybody() -> None:
    queue = Queue()
    async with queue.turns.turn(first=False):
        (late,) = await queue.asked("A")
        assert queue.had == []
    await late
    assert queue.had == ["A"]


async def test_who_gives_up_waiting_or_having_it_hands_the_turn_on() -> None:
    queue = Queue()
    async with queue.turns.turn(first=False):
        gone, stays, also_gone, last = await queue.asked("A", "B", "c", "d")
        gone.cancel()
        also_gone.cancel()
    await asyncio.gather(stays, last)
    assert queue.had == ["B", "d"]
    with pytest.raises(RuntimeError):
        async with queue.turns.turn(first=True):
            raise RuntimeError
    async with asyncio.timeout(1), queue.turns.turn(first=False):
        pass


async def test_who_is_cancelled_in_the_moment_of_its_turn_hands_it_on() -> None:
    queue = Queue()
    async with queue.turns.turn(first=False):
        given, waits = await queue.asked("a", "b")
    given.cancel()  # its turn was handed to it, and it has not run since
    async with asyncio.timeout(1):
        await waits
    assert queue.had == ["b"]


async def test_who_comes_to_be_in_a_hurry_while_it_waits_is_next() -> None:
    queue = Queue()
    async with queue.turns.turn(first=False):
        tasks = await queue.asked("a", "b", "C", "d")
        queue.turns.hurry("d")
        queue.turns.hurry("nobody")
    await asyncio.gather(*tasks)
    queue.turns.hurry("d")  # it had its turn
    assert queue.had == ["C", "d", "a", "b"]


async def test_some_places_are_kept_for_those_in_a_hurry() -> None:
    queue = Queue(2, calm=1)
    async with queue.turns.turn(first=False):
        calm, urgent = await queue.asked("a", "B")
        await urgent
        assert queue.had == ["B"]
    await calm
    async with queue.turns.turn(first=True), queue.turns.turn(first=True):
        tasks = await queue.asked("c", "d", "E")
        assert queue.had == ["B", "a"]
    await asyncio.gather(*tasks)
    assert queue.had == ["B", "a", "E", "c", "d"]
