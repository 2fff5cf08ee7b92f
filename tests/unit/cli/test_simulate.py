"""``modbot simulate`` prints what the design names and tells how to repeat a failure."""

import json

import pytest

from components.cli import simulate
from components.cli.errors import CommandError
from components.ownership.evidence import Evidence


def test_the_json_has_the_keys_of_the_design(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--seeds", "1..5", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["seeds"] == 5
    assert printed["ok"] is True
    assert printed["failures"] == []
    assert printed["steps"] > 5000
    assert printed["transitions"]["epoch placed"] == 20
    assert printed["checked"]["effects"] > 0


def test_a_failure_names_its_seed_its_step_and_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evidence, "silent", lambda self, guild, earlier, now_s: "said to be")
    assert simulate.main(["--seeds", "1..20", "--json"]) == 1
    printed = capsys.readouterr()
    failure = json.loads(printed.out)["failures"][0]
    seed = failure["seed"]
    assert failure["step"] > 0
    assert failure["invariant"] == "two_could_act"
    assert f"repeat: modbot simulate --seeds {seed}..{seed} --trace" in printed.err
    assert simulate.main(["--seeds", f"{seed}..{seed}", "--trace", "--json"]) == 1
    again = capsys.readouterr()
    assert json.loads(again.out)["failures"] == [failure]
    assert "VIOLATION" in again.err


@pytest.mark.parametrize("words", ["x..y", "5..1", ""])
def test_a_range_that_is_none_is_told(words: str) -> None:
    with pytest.raises(CommandError):
        simulate.main(["--seeds", words])
