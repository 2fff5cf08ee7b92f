"""One short round each of the scenarios that every change must survive, on one stack."""

from pathlib import Path

import pytest

from components.chaos.run import run_each
from components.chaos.scenarios import SCENARIOS

NAMES = ("kill-gateway", "kill-pair", "stop-gateway", "rolling-restart")


@pytest.mark.timeout(300)
async def test_a_round_of_chaos_finds_nothing_wrong(tmp_path: Path) -> None:
    scenarios = [SCENARIOS[name] for name in NAMES]
    results = await run_each(scenarios, seed=1, home=tmp_path / "stack", say=print)
    wrong = {result.scenario: (result.not_played, result.examples) for result in results}
    assert wrong == {name: ([], {}) for name in NAMES}
    assert all(result.ok for result in results)
