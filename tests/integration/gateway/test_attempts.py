"""Notes on what is tried after a crash, shared by all pods of a guild, on a real bus."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.engine.model import LoggedInput
from components.gateway.shell import attempts as module
from components.gateway.shell.attempts import DEATHS, Attempts, Tries
from contracts.ids import GuildId, PodId, Sequence
from tests.support.nats import RunningNats

GUILD = GuildId("1000")


def item(sequence: int) -> LoggedInput:
    return LoggedInput(
        guild=GUILD,
        sequence=Sequence(sequence),
        stored_ms=0,
        message_id=f"dsc:{sequence}",
        traceparent="",
        data=b"{}",
    )


class Processes:
    """Processes of pods. One that dies leaves a try that never ends."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._left: list[AbstractAsyncContextManager[bool]] = []

    def start(self, pod: str) -> Attempts:
        return Attempts(self._bus, PodId(pod), GUILD, Tries())

    async def begin(self, process: Attempts, sequence: int) -> AbstractAsyncContextManager[bool]:
        trying = process.trying(item(sequence))
        self._left.append(trying)
        assert await trying.__aenter__()
        return trying

    async def apply(self, process: Attempts, sequence: int) -> bool:
        async with process.trying(item(sequence)) as may_apply:
            return may_apply


@pytest.fixture
async def processes(nats_server: RunningNats) -> Processes:
    return Processes(await nats_server.connect("gateway"))


async def test_an_input_is_tried_by_no_more_processes_than_it_may_kill(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STAYS_S", 0.1)
    for pod in ("a", "b", "c")[:DEATHS]:
        await processes.begin(processes.start(pod), 7)  # and it dies
    for pod in ("a", "b", "c"):
        assert not await processes.apply(processes.start(pod), 7)


async def test_what_a_living_pod_is_trying_is_not_held_against_the_input(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STAYS_S", 2.0)  # longer than the two take to be done with it
    owner, follower, third = (processes.start(pod) for pod in ("a", "b", "c"))
    first = await processes.begin(owner, 7)
    second = await processes.begin(follower, 7)
    judged = asyncio.create_task(processes.apply(third, 7))
    await first.__aexit__(None, None, None)
    await second.__aexit__(None, None, None)
    assert await judged


async def test_an_input_that_was_applied_after_all_is_suspected_no_more(
    processes: Processes,
) -> None:
    await processes.begin(processes.start("a"), 7)  # and it dies
    assert await processes.apply(processes.start("a"), 7)
    for _ in range(DEATHS):
        await processes.begin(processes.start("a"), 7)
    assert not await processes.apply(processes.start("a"), 7)


async def test_a_process_does_not_die_of_what_it_tries_again(processes: Processes) -> None:
    process = processes.start("a")

    async def given_up() -> None:
        async with process.trying(item(7)) as may_apply:
            assert may_apply
            raise asyncio.CancelledError

    for _ in range(DEATHS + 2):
        with pytest.raises(asyncio.CancelledError):
            await given_up()
    assert await processes.apply(process, 7)


def landing(process: Attempts, error: BaseException) -> Callable[..., Awaitable[int]]:
    """A write of the process that lands, and ends with this error all the same."""
    replace = process._bucket.replace

    async def write(key: str, value: bytes, revision: int) -> int:
        await replace(key, value, revision)
        raise error

    return write


async def test_a_note_whose_answer_was_lost_is_not_a_death(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = processes.start("a")
    with monkeypatch.context() as lost:
        lost.setattr(process._bucket, "replace", landing(process, BusError("no answer")))
        for _ in range(DEATHS + 1):
            with pytest.raises(BusError):
                await processes.begin(process, 7)
    await processes.begin(process, 7)  # and it dies
    assert await processes.apply(processes.start("a"), 7)


async def test_a_try_that_is_given_up_while_it_is_noted_is_not_a_death(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = processes.start("a")
    with monkeypatch.context() as lost:
        lost.setattr(process._bucket, "replace", landing(process, asyncio.CancelledError()))
        for _ in range(DEATHS):
            with pytest.raises(asyncio.CancelledError):
                await processes.begin(process, 7)
            await process.load()
    assert await processes.apply(process, 7)


async def test_who_has_to_apply_more_does_not_lose_the_note_of_who_was_further(
    processes: Processes,
) -> None:
    for _ in range(DEATHS):
        again = processes.start("a")
        for earlier in (3, 5):  # its rows are older than those of the pod that noted before it
            assert await processes.apply(again, earlier)
        await processes.begin(again, 7)  # and it dies
    again = processes.start("a")
    assert await processes.apply(again, 5)
    assert not await processes.apply(again, 7)


async def test_who_is_caught_up_takes_its_own_note_back(processes: Processes) -> None:
    process = processes.start("a")
    assert await processes.apply(process, 7)
    await process.clear()
    for _ in range(DEATHS):
        await processes.begin(processes.start("a"), 7)


async def test_who_is_caught_up_leaves_the_note_of_another(processes: Processes) -> None:
    mine = processes.start("a")
    assert await processes.apply(mine, 7)
    await processes.begin(processes.start("b"), 8)  # and it dies
    await mine.clear()
    await processes.begin(processes.start("b"), 8)
    assert not await processes.apply(processes.start("b"), 8)
