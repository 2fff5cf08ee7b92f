"""Every numbered step of docs/decisions/0006-ownership.md is pinned by a test that names it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "docs" / "decisions" / "0006-ownership.md"
STEP = re.compile(r"^(\d+)\. ", re.MULTILINE)
TEST = re.compile(r"^(?:async )?def test_step_(\w+)", re.MULTILINE)


def steps_of(name: str) -> set[int]:
    """The steps in a name behind ``test_step_``: ``7_…``, ``13_to_16_…``, ``13_and_19_…``."""
    found = re.match(r"(\d+)(?:_(to|and)_(\d+))?_", name)
    if found is None:
        return set()
    first, kind, last = found.groups()
    if kind == "to":
        return set(range(int(first), int(last) + 1))
    return {int(number) for number in (first, last) if number}


def named_by_tests() -> set[int]:
    named: set[int] = set()
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in TEST.findall(file.read_text(encoding="utf-8")):
            named |= steps_of(name)
    return named


def test_the_steps_of_a_name() -> None:
    assert steps_of("7_effects_wait") == {7}
    assert steps_of("13_to_16_a_guild_moves") == {13, 14, 15, 16}
    assert steps_of("13_and_19_a_pod_joins") == {13, 19}
    assert steps_of("by_step") == set()


def test_every_step_of_the_record_is_named_by_a_test() -> None:
    steps = [int(number) for number in STEP.findall(RECORD.read_text(encoding="utf-8"))]
    assert steps == list(range(1, 25))
    assert set(steps) - named_by_tests() == set()


def test_no_test_names_a_step_that_the_record_does_not_have() -> None:
    assert named_by_tests() <= set(range(1, 25))
