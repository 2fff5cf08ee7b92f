"""The checker sees: the product is broken on purpose and the real stack is played with it.

Each breakage is made where the stack's processes start (`breakages`), never in the product.
"""

from pathlib import Path

import pytest

from components.chaos.run import run
from components.chaos.scenarios import SCENARIOS

SEED = 5


async def play(tmp_path: Path, scenario: str, breakage: str) -> dict[str, int]:
    """The violations of one round with the breakage."""
    result = await run(
        SCENARIOS[scenario],
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
    violations = await play(tmp_path, "stop-gateway", "gate_off")
    assert violations["effects_stale_owner"] > 0


@pytest.mark.timeout(200)
async def test_without_the_fence_facts_are_seen_twice(tmp_path: Path) -> None:
    violations = await play(tmp_path, "kill-gateway", "fence_off")
    assert violations["facts_doubled"] > 0


@pytest.mark.timeout(200)
async def test_without_deduplication_inputs_are_seen_twice(tmp_path: Path) -> None:
    violations = await play(tmp_path, "kill-shard", "deduplication_off")
    assert violations["inputs_doubled"] > 0
    assert violations["state_differs"] > 0


@pytest.mark.timeout(200)
async def test_a_checkpoint_outside_of_the_transaction_loses_what_is_seen_to_be_lost(
    tmp_path: Path,
) -> None:
    violations = await play(tmp_path, "kill-gateway", "checkpoint_outside")
    assert violations["state_differs"] > 0
