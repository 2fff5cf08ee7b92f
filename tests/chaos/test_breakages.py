"""The checker sees: the product is broken on purpose and the real stack is played with it.

Each breakage is made where the stack's processes start (`breakages`), never in the product.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from components.bus.connection import Bus, connect
from components.bus.settings import BusSettings
from components.bus.stream import StoredMessage, read_batch
from components.chaos import backups
from components.chaos.arena import Arena
from components.chaos.faults.stops import stop, wake
from components.chaos.results import ChaosResult
from components.chaos.run import run, run_each
from components.chaos.scenario import STEADY, Fault, Scenario
from components.chaos.scenarios import SCENARIOS
from components.chaos.watching import Change
from components.cli.asking import ask
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Sequence
from contracts.message import encode
from contracts.requests import GetGuildStatus, GuildStatus
from tests.chaos.breakages import engine_forgets, gate_off, lease_ignored, switch

SEED = 5
SMALL = ("--shards", "1", "--edges", "1", "--configs", "1")
"""What the checker sees does not depend on the number of replicas; the start of a stack does."""
ACTS_WITHIN_S = 5.0
ASKED_WITHIN_S = 15.0
REPEATED_WHILE_WHOLE, REPEATED_WHILE_BROKEN = 2, 3


async def stop_until_others_act(arena: Arena) -> Fault:
    """A pod stands still right before its gate until the next owner of its guilds has acted. It
    is ended once it has acted itself: one that does not care for its lease would stay for ever."""
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    before, start = arena.worker(pod), arena.watched.leases[pod].incarnation
    standing = await stop(arena, pod, "before")
    began_ms = time.time() * 1000
    try:
        await arena.until(lambda: not arena.owned_by([pod]), f"{pod} has lost its guilds")
        await _deletion(arena, struck, time.time() * 1000)
        last = (await arena.live.control.record(limit=1)).last
    finally:
        wake(pod, standing)
    with contextlib.suppress(TimeoutError):  # then the checker finds nothing, and the test fails
        async with asyncio.timeout(ACTS_WITHIN_S):
            await _act(arena, f"{pod}/{start}", last)
    if arena.worker(pod) == before:
        arena.kill(pod)
    await arena.restarted(pod, before)
    return Fault(words=f"{pod} stopped", began_ms=began_ms, guilds=frozenset(struck))


async def _act(arena: Arena, caller: str, since: int) -> None:
    """Wait for a call of this start of a pod."""
    async for entry in arena.live.control.follow(("rest",), since):
        if (entry.data.get("caller") or "").endswith(caller):
            return


async def _deletion(arena: Arena, guilds: set[GuildId], after_ms: float) -> None:
    """Wait for the deletion of a message in a probed guild of these."""
    control = arena.live.control
    channels = {
        str(channel)
        for guild in await control.guilds()
        if GuildId(str(guild.id)) in guilds and guild.name.startswith("probe-")
        for channel in guild.channels.values()
    }
    async for entry in control.follow(("rest",), (await control.record(limit=1)).last):
        path = entry.data["path"].split("/")
        if entry.data["method"] == "DELETE" and path[2] in channels and entry.at_ms > after_ms:
            return


async def repeat_interactions(arena: Arena) -> Fault:
    """First responders append interactions again that are on the log long since: while the engine
    works, and again while it forgets."""
    began_ms = time.time() * 1000
    seed = Path(arena.live.record.credentials["seeds"]) / "edge.nk"
    settings = BusSettings(
        url=arena.live.record.urls["nats"], seed=seed.read_text(encoding="ascii").strip()
    )
    edge = await connect(settings, user="edge", name="late-edge")
    try:
        questions = await _interactions(arena, REPEATED_WHILE_WHOLE + REPEATED_WHILE_BROKEN)
        for guild, message in questions[:REPEATED_WHILE_WHOLE]:
            await _again(arena, edge, guild, message)
        with broken(arena, engine_forgets.NAME):
            for guild, message in questions[REPEATED_WHILE_WHOLE:]:
                await _again(arena, edge, guild, message)
    finally:
        await edge.close()
    return Fault(words="interactions repeated", began_ms=began_ms, guilds=frozenset())


async def stop_backup(arena: Arena) -> Fault:
    """A pod's Litestream stands still from now on: its end would be seen, and it started again.
    It is the pod that is looked at last: the others have all the time that there is."""
    pod = arena.replicas("gateway")[-1]
    began_ms = time.time() * 1000
    _litestream(arena, pod).suspend()
    return Fault(words=f"the backup of {pod} stopped", began_ms=began_ms, guilds=frozenset())


def _litestream(arena: Arena, pod: str) -> psutil.Process:
    (found,) = (
        child
        for child in psutil.Process(arena.worker(pod)).children()
        if "litestream" in child.name()
    )
    return found


async def go_blind(arena: Arena) -> Fault:
    """The watches of the buckets end with the next change that they show. Nothing else is wrong any
    more."""

    def fail(_: Change) -> None:
        raise RuntimeError("planted")

    _litestream(arena, arena.replicas("gateway")[-1]).resume()
    began_ms = time.time() * 1000
    seen = len(arena.watched.changes)
    setattr(arena.watched, "_note", fail)  # noqa: B010  a method is not assigned to
    await arena.until(lambda: len(arena.watched.changes) > seen, "something changes")
    return Fault(words="watches ended", began_ms=began_ms, guilds=frozenset())


async def _interactions(arena: Arena, count: int) -> list[tuple[GuildId, StoredMessage]]:
    """So many different interactions, as they lie on the logs."""
    async with asyncio.timeout(ASKED_WITHIN_S):
        while True:
            found = []
            for guild in arena.guilds:
                log = await read_batch(
                    arena.live.bus, storage.INPUTS, subjects.inputs(guild), Sequence(1)
                )
                found += [
                    (guild, message)
                    for message in log
                    if message.headers.get(headers.MSG_ID, "").startswith("int:")
                ]
            if len(found) >= count:
                return found[:count]
            await asyncio.sleep(0.2)  # a moderator asks twice a second


async def _again(arena: Arena, edge: Bus, guild: GuildId, message: StoredMessage) -> None:
    """Append it under its id once the stream has forgotten that, and wait until the guild's owner
    has applied it. Under traffic an owner never has nothing left to do."""
    again = {headers.MSG_ID: message.headers[headers.MSG_ID]}
    async with asyncio.timeout(ASKED_WITHIN_S):
        while (stored := await edge.append(subjects.inputs(guild), message.data, again)).duplicate:
            await asyncio.sleep(0.1)  # the stream's window
    read = GetGuildStatus()
    seen = {headers.MIN_APPLIED: str(stored.sequence)}
    subject = subjects.request(guild, read.verb)
    status = await ask(arena.live.bus, subject, encode(read), GuildStatus, **seen)
    assert status.applied >= stored.sequence


@contextlib.contextmanager
def broken(arena: Arena, breakage: str) -> Iterator[None]:
    """Inside the block the product is broken in this way."""
    arena.flag(switch(breakage)).touch()
    try:
        yield
    finally:
        arena.flag(switch(breakage)).unlink()


def breaking(scenario: Scenario, breakage: str) -> Scenario:
    """The scenario, with the product broken while its fault lasts."""

    async def inject(arena: Arena) -> Fault:
        with broken(arena, breakage):
            return await scenario.inject(arena)

    return msgspec.structs.replace(scenario, name=f"{scenario.name}-{breakage}", inject=inject)


STOP_UNTIL_OTHERS_ACT = Scenario(
    name="stop-until-others-act",
    words="SIGSTOP until another owner acts",
    inject=stop_until_others_act,
    patience_s=30.0,
)
REPEAT_INTERACTIONS = Scenario(
    name="repeat-interactions",
    words="interactions are appended again, long after the stream's window",
    inject=repeat_interactions,
    must=STEADY,
)

GO_BLIND = Scenario(name="go-blind", words="the watches end", inject=go_blind, must=STEADY)
STOP_BACKUP = Scenario(
    name="stop-backup", words="a pod's Litestream hangs", inject=stop_backup, must=STEADY
)


def small(scenario: Scenario, settle_s: float = 15.0) -> Scenario:
    """The scenario on a small stack. What a breakage keeps from settling never does: only a round
    in which something must not be wrong is given its time."""
    return msgspec.structs.replace(scenario, settle_s=settle_s, options=SMALL)


async def play_each(
    tmp_path: Path, scenarios: list[Scenario], *breakages: str
) -> list[dict[str, int]]:
    """The violations of one round of each, on one stack with the breakages."""
    results = await run_each(
        scenarios,
        seed=SEED,
        home=tmp_path / "stack",
        say=print,
        inside=[f"tests.chaos.breakages.{breakage}" for breakage in breakages],
    )
    assert [result.not_played for result in results] == [[]] * len(scenarios)
    assert [result.ok for result in results] == [False] * len(scenarios)
    return [result.violations for result in results]


async def play(tmp_path: Path, scenario: Scenario, breakage: str) -> dict[str, int]:
    """The violations of one round with the breakage."""
    result = await tried(tmp_path, scenario, breakage)
    assert result.not_played == []
    return result.violations


async def tried(tmp_path: Path, scenario: Scenario, breakage: str) -> ChaosResult:
    """One round with the breakage, of which chaos says that something is wrong."""
    result = await run(
        small(scenario),
        seed=SEED,
        rounds=1,
        home=tmp_path / "stack",
        say=print,
        inside=(f"tests.chaos.breakages.{breakage}",),
    )
    assert not result.ok
    return result


@pytest.mark.timeout(200)
async def test_without_gate_or_lease_a_stopped_owner_is_seen_to_act(tmp_path: Path) -> None:
    breakages = (gate_off.NAME, lease_ignored.NAME)
    scenarios = [small(breaking(STOP_UNTIL_OTHERS_ACT, one)) for one in breakages]
    for violations in await play_each(tmp_path, scenarios, *breakages):
        assert violations["effects_stale_owner"] > 0


@pytest.mark.timeout(200)
async def test_without_the_fence_facts_are_seen_twice(tmp_path: Path) -> None:
    violations = await play(tmp_path, SCENARIOS["kill-gateway"], "fence_off")
    assert violations["facts_doubled"] > 0


@pytest.mark.timeout(200)
async def test_without_deduplication_inputs_then_effects_are_seen_twice(tmp_path: Path) -> None:
    scenarios = [small(SCENARIOS["kill-shard"], settle_s=60.0), small(REPEAT_INTERACTIONS)]
    stream, engine = await play_each(tmp_path, scenarios, "stream_forgets", engine_forgets.NAME)
    assert stream["inputs_doubled"] > 0
    assert stream["effects_doubled"] == stream["facts_doubled"] == stream["state_differs"] == 0
    assert engine["inputs_doubled"] >= REPEATED_WHILE_WHOLE + REPEATED_WHILE_BROKEN
    # An answer that was deferred is edited twice with the same words, which is one to Discord.
    assert engine["effects_doubled"] > 0


@pytest.mark.timeout(200)
async def test_a_checkpoint_outside_of_the_transaction_loses_what_is_seen_to_be_lost(
    tmp_path: Path,
) -> None:
    violations = await play(tmp_path, SCENARIOS["kill-gateway"], "checkpoint_outside")
    assert violations["state_differs"] > 0


@pytest.mark.timeout(200)
async def test_a_replica_path_that_pods_share_is_seen_to_be_destroyed(
    tmp_path: Path,
) -> None:
    """What is restored is a mix of two databases: rows that differ, or that nobody can read, so
    that their guild does not answer again."""
    result = await tried(tmp_path, SCENARIOS["kill-pair"], "replica_shared")
    if result.not_played:
        (words,) = result.not_played
        assert "every probed guild answers again" in words
    else:
        assert result.violations["state_differs"] > 0


@pytest.mark.timeout(200)
async def test_a_backup_that_stands_still_and_a_watch_that_has_ended_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "WITHIN_S", 15.0)  # for what stands still no time is enough
    scenarios = [small(STOP_BACKUP, settle_s=60.0), small(GO_BLIND)]
    still, blind = await run_each(scenarios, seed=SEED, home=tmp_path / "stack", say=print)
    assert still.not_played == []
    assert {kind for kind, count in still.violations.items() if count} == {"state_differs"}
    pod = still.examples["state_differs"][0].removeprefix("the replica of ").split()[0]
    assert all(f"the replica of {pod} " in words for words in still.examples["state_differs"])
    (words,) = blind.not_played
    assert "WatchEnded" in words
