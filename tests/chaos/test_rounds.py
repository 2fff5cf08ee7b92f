"""One short round each of the scenarios that every change must survive."""

from pathlib import Path

import pytest

from components.chaos.run import run
from components.chaos.scenarios import SCENARIOS


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "scenario", ["kill-gateway", "kill-pair", "stop-gateway", "rolling-restart"]
)
async def test_a_round_of_chaos_finds_nothing_wrong(tmp_path: Path, scenario: str) -> None:
    result = await run(SCENARIOS[scenario], seed=1, rounds=1, home=tmp_path / "stack", say=print)
    assert result.not_played == []
    assert result.examples == {}
    assert result.ok
