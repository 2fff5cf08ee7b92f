"""Kept results become the table that the documents quote."""

from pathlib import Path

import msgspec
import pytest

from components.chaos.checker import Checked, Violations
from components.chaos.results import ChaosResult, Percentiles, Unowned
from components.chaos.table import markdown
from components.cli.chaos import main

NEVER = Percentiles()


def result(name: str, **changes: object) -> ChaosResult:
    """Ten rounds of a scenario without a violation."""
    made = ChaosResult(
        scenario=name,
        seed=7,
        rounds=10,
        checked=Checked(inputs=1200, effects=600, facts=1300, requests=2100),
        violations=Violations().counts(),
        unowned_s=Unowned(reads=Percentiles(p50=0.128, p99=0.2, max=0.25), effects=NEVER),
        evidence="",
        examples={},
        causes={},
        struck={},
        round_s=Percentiles(p50=16.4, p99=17.0, max=17.0),
        not_played=[],
        commit="c0ffee",
        ok=True,
    )
    return msgspec.structs.replace(made, **changes)


def test_each_result_is_a_row_and_the_last_one_sums_them_up() -> None:
    found = {**Violations().counts(), "inputs_lost": 2}
    lines = markdown(
        [result("kill-edge"), result("storm", rounds=30, violations=found)]
    ).splitlines()
    assert lines.pop() == "Commit: c0ffee"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    assert len({len(row) for row in rows}) == 1
    first, second, sums = rows[2:]
    assert first[:6] == ["kill-edge", "7", "10", "0", "0.13 / 0.25", "-"]
    assert first[6:] == ["1,200", "600", "1,300", "2,100", "16"]
    assert second[:4] == ["storm", "7", "30", "2"]
    assert sums[:4] == ["all", "", "40", "2"]
    assert sums[6:10] == ["2,400", "1,200", "2,600", "4,200"]


def test_a_round_that_was_not_played_is_named() -> None:
    told = markdown(
        [result("reshard", rounds=9, not_played=["round 4: not within 60 s: it is so"])]
    )
    assert told.endswith("- reshard: round 4: not within 60 s: it is so")


def test_the_command_draws_what_it_has_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kill-edge.json"
    kept.write_bytes(msgspec.json.encode(result("kill-edge")))
    assert main(["--table", str(kept)]) == 0
    assert capsys.readouterr().out.strip() == markdown([result("kill-edge")])


def test_results_of_several_commits_are_told_apart() -> None:
    told = markdown([result("kill-edge"), result("storm", commit="")])
    assert told.splitlines()[-2:] == ["- kill-edge: commit c0ffee", "- storm: commit unknown"]


def test_what_is_no_result_is_named_beside_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, empty, other = (tmp_path / f"{name}.json" for name in ("whole", "empty", "other"))
    whole.write_bytes(msgspec.json.encode(result("kill-edge")))
    empty.touch()
    other.write_text("{}")
    assert main(["--table", str(empty), str(other), str(whole), str(tmp_path / "none.json")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| kill-edge |") for line in told)
    named = [line.partition(" is not what ")[0] for line in told if " is not what " in line]
    assert named == [f"- {file}" for file in (empty, other, tmp_path / "none.json")]
