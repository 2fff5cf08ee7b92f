"""The table of scenarios is complete, and the command shows it."""

import pytest

from components.chaos.scenarios import SCENARIOS
from components.cli.chaos import main

WANTED = """
kill-gateway kill-gateway-and-parent wipe-disk kill-pair kill-twice stop-gateway stop-short
cut-gateway cut-discord slow-disk kill-shard kill-edge kill-config kill-both-configs reshard
stop-postgres stop-s3 kill-nats kill-nats-leader rolling-restart clock-jump storm
"""


def test_every_scenario_is_there() -> None:
    assert sorted(SCENARIOS) == sorted(WANTED.split())


def test_the_command_lists_the_scenarios_with_their_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert all(one.words in line for one, line in zip(SCENARIOS.values(), lines, strict=True))
