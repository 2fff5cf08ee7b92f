"""The checker sees: the product is broken on purpose and the real stack is played with it.

Each breakage is made where the stack's processes start (`breakages`), never in the product.
"""

import time
from pathlib import Path

import msgspec
import pytest

from components.chaos.arena import Arena
from components.chaos.faults.stops import stop, wake
from components.chaos.run import run
from components.chaos.scenario import Fault, Scenario
from components.chaos.scenarios import SCENARIOS
from contracts.ids import GuildId

SEED = 5
SMALL = ("--shards", "1", "--edges", "1", "--configs", "1")
"""What the checker sees does not depend on the number of replicas; the start of a stack does."""


async def stop_until_others_act(arena: Arena) -> Fault:
    """A pod stands still right before its gate until the next owner of its guilds has acted."""
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    standing = await stop(arena, pod, "before")
    began_ms = time.time() * 1000
    try:
        await arena.until(lambda: not arena.owned_by([pod]), f"{pod} has lost its guilds")
        await _deletion(arena, struck, time.time() * 1000)
    finally:
        wake(pod, standing)
    return Fault(words=f"{pod} stopped", began_ms=began_ms, guilds=frozenset(struck))


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


STOP_UNTIL_OTHERS_ACT = Scenario(
    name="stop-until-others-act",
    words="SIGSTOP until another owner acts",
    inject=stop_until_others_act,
    patience_s=30.0,
)


async def play(tmp_path: Path, scenario: Scenario, breakage: str) -> dict[str, int]:
    """The violations of one round with the breakage."""
    result = await run(
        msgspec.structs.replace(scenario, settle_s=15.0, options=SMALL),
        seed=SEED,
        rounds=1,
        home=tmp_path / "stack",
        say=print,
        inside=(f"tests.chaos.breakages.{breakage}",),
    )
    assert not result.ok
    assert result.not_played == []
    return result.violations


@pytest.mark.timeout(200)
async def test_without_the_gate_a_stopped_owner_is_seen_to_act(tmp_path: Path) -> None:
    violations = await play(tmp_path, STOP_UNTIL_OTHERS_ACT, "gate_off")
    assert violations["effects_stale_owner"] > 0


@pytest.mark.timeout(200)
async def test_without_the_fence_facts_are_seen_twice(tmp_path: Path) -> None:
    violations = await play(tmp_path, SCENARIOS["kill-gateway"], "fence_off")
    assert violations["facts_doubled"] > 0


@pytest.mark.timeout(200)
async def test_without_deduplication_inputs_are_seen_twice(tmp_path: Path) -> None:
    violations = await play(tmp_path, SCENARIOS["kill-shard"], "deduplication_off")
    assert violations["inputs_doubled"] > 0


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
    violations = await play(tmp_path, SCENARIOS["kill-pair"], "replica_shared")
    assert violations["state_differs"] > 0
