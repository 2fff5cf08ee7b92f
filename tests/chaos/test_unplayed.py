"""A round that cannot be played to its end is told, and what is known of it is kept."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from components.chaos import run as running
from components.chaos.arena import Arena
from components.chaos.faults.cuts import slow_disk
from components.chaos.run import run
from components.chaos.scenario import Fault, Scenario
from components.simulator.client import ControlError

SMALL = ("--shards", "1", "--edges", "1", "--configs", "1")


async def refused(arena: Arena) -> Fault:
    """The simulator refuses a call in one of several faults at once."""
    async with asyncio.TaskGroup() as group:
        group.create_task(arena.live.control.rename_guild(1, "nobody's"))
    raise AssertionError


async def not_loaded(arena: Arena) -> Fault:
    """A disk that would be slow, had the hook been loaded."""
    return await slow_disk(arena)


async def first_then_second(arena: Arena) -> Fault:
    return await (refused if arena.number == 0 else not_loaded)(arena)


def lines(file: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]


@pytest.mark.timeout(240)
async def test_rounds_that_fail_in_any_way_are_told_and_their_evidence_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = tuple(hook for hook in running.INSIDE if hook != "slow_disk")
    monkeypatch.setattr(running, "INSIDE", without)
    scenario = Scenario(name="fails", words="", inject=first_then_second, options=SMALL)
    result = await run(scenario, seed=1, rounds=2, home=tmp_path / "stack", say=print)
    assert (result.rounds, result.ok) == (0, False)
    first, second = result.not_played
    assert first.startswith(f"round 1: {ControlError.__name__}: 404 ")
    assert "never struck" in second
    for folder in (Path(result.evidence) / f"round-{number}" for number in (1, 2)):
        assert "Traceback" in (folder / "not-played.txt").read_text(encoding="utf-8")
        assert not (folder / "lacks.txt").exists()
        kinds = {entry["kind"] for entry in lines(folder / "record.ndjson")}
        assert {"message_create", "rest", "dispatch"} <= kinds
        for name in ("inputs", "events", "clients", "probes", "buckets"):
            assert lines(folder / f"{name}.ndjson"), name
        assert (folder / "gateway-0.db").stat().st_size > 0
        assert list((folder / "logs").iterdir())
