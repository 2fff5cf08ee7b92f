"""Whatever becomes of a round, what was played is told: how rounds come together to a result."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from components.chaos import run as running
from components.chaos.arena import NotInTime, NotThere
from components.chaos.checker import Checked, Violations
from components.chaos.dice import dice
from components.chaos.results import ChaosResult, commit
from components.chaos.round import Played
from components.chaos.scenarios import SCENARIOS
from components.chaos.unplayed import NotPlayed
from components.chaos.words import in_words
from components.cli.chaos import main
from components.simulator.client import ControlError

NAME = "kill-edge"


def played(took_s: float = 3.0, **violations: list[str]) -> Played:
    return Played(
        words="edge-0 killed",
        struck=(NAME,),
        checked=Checked(inputs=7),
        violations=Violations(**violations),
        history=None,  # type: ignore[arg-type]
        read_gaps_s=[],
        effect_gaps_s=[],
        causes={"placed": 12},
        took_s=took_s,
    )


def unplayed(*errors: Exception) -> NotPlayed:
    return NotPlayed(ExceptionGroup("unhandled errors in a TaskGroup", list(errors)), 0, None)


class Rounds:
    """Rounds whose ends are given, on stacks that are noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: Played | NotPlayed) -> None:
        self.stacks: list[str] = []
        self.kept: list[str] = []
        self.endless = asyncio.Event()
        """That a round has begun which does not end."""
        self._ends = list(ends)
        monkeypatch.setattr(running, "_arena", self._arena)
        monkeypatch.setattr(running, "play", self._play)
        monkeypatch.setattr(running, "keep_unplayed", self._keep)

    async def run(self, folder: Path, rounds: int) -> ChaosResult:
        return await running.run(
            SCENARIOS[NAME], seed=1, rounds=rounds, home=folder / "stack", say=print
        )

    @asynccontextmanager
    async def _arena(self, scenario: Any, home: Path, inside: Any) -> AsyncIterator[Any]:
        self.stacks.append(home.name)
        yield SimpleNamespace(live=SimpleNamespace(home=home), watched=None)

    async def _play(self, arena: Any, scenario: Any, seed: int, number: int) -> Played:
        if number >= len(self._ends):
            self.endless.set()
            await asyncio.Event().wait()
        end = self._ends[number]
        if isinstance(end, NotPlayed):
            raise end
        return end

    async def _keep(self, folder: Path, arena: Any, error: NotPlayed) -> None:
        self.kept.append(folder.name)


async def test_a_round_that_was_not_played_is_told_and_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = unplayed(NotInTime("not within 60 s: gateway-0 is started again"))
    rounds = Rounds(monkeypatch, played(), late, played())
    result = await rounds.run(tmp_path, 3)
    assert result.not_played == ["round 2: not within 60 s: gateway-0 is started again"]
    assert (result.rounds, result.checked.inputs, result.struck) == (2, 14, {NAME: 2})
    assert not result.ok
    assert rounds.kept == ["round-2"]
    assert result.evidence == str(tmp_path / f"evidence-{NAME}-1")


@pytest.mark.parametrize(
    ("ends", "reaches"),
    [
        ([unplayed(NotThere("x")), played(inputs_lost=["a"]), played(inputs_lost=["b"])], 2),
        ([played(), unplayed(NotThere("x")), played()], 2),
        ([played(), played(), played()], 0),
    ],
)
async def test_how_to_repeat_it_reaches_the_round_that_was_violated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[Any], reaches: int
) -> None:
    rounds = Rounds(monkeypatch, *ends)
    monkeypatch.setattr(running, "keep", lambda *_: None)  # there is no stack to keep
    assert (await rounds.run(tmp_path, 3)).repeat_rounds == reaches


def test_the_command_says_how_to_reach_the_round_that_was_violated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Rounds(monkeypatch, played(), unplayed(NotThere("x")), played(inputs_lost=["a"]))
    monkeypatch.setattr(running, "keep", lambda *_: None)  # there is no stack to keep
    assert main([NAME, "--rounds", "3", "--seed", "7", "--json", "--home", str(tmp_path)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"repeat: modbot chaos {NAME} --seed 7 --rounds 3 ")


async def test_evidence_that_cannot_be_kept_costs_neither_the_result_nor_the_other_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    rounds = Rounds(monkeypatch, played(inputs_lost=["a"]), played())
    monkeypatch.setattr(running, "keep", fail)
    result = await rounds.run(tmp_path, 2)
    assert (result.rounds, result.violations["inputs_lost"]) == (2, 1)
    assert "no space left on device" in capsys.readouterr().out


async def test_the_result_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    result = await Rounds(monkeypatch, played()).run(tmp_path, 1)
    assert result.commit == told.stdout.strip()


def test_without_git_the_commit_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit() == ""


async def test_the_round_after_one_that_was_not_played_has_a_stack_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch, played(), unplayed(NotThere("x")), played(), played())
    await rounds.run(tmp_path, 4)
    assert rounds.stacks == ["stack", "stack-3"]


async def test_what_rounds_leave_behind_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch, *[played()] * 21)
    (tmp_path / "stack").mkdir()
    assert (await rounds.run(tmp_path, 21)).ok
    assert rounds.stacks == ["stack", "stack-11", "stack-21"]
    assert not (tmp_path / "stack").exists()


async def test_nothing_is_tried_on_after_three_rounds_that_could_not_be_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch, *[unplayed(NotThere("three nodes"))] * 9)
    result = await rounds.run(tmp_path, 9)
    assert len(result.not_played) == 3
    assert (result.rounds, result.ok) == (0, False)


@pytest.mark.parametrize(("rounds", "ok"), [(0, True), (5, False)])
async def test_cut_short_it_says_what_was_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, ok: bool
) -> None:
    script = Rounds(monkeypatch, played(2.0), played(4.0))
    task = asyncio.create_task(script.run(tmp_path, rounds))
    await script.endless.wait()
    task.cancel()
    result = await task
    assert (result.rounds, result.ok) == (2, ok)
    assert (result.round_s.p50, result.round_s.max) == (3.0, 4.0)


async def test_an_endless_run_with_a_violation_is_not_ok_when_it_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Rounds(monkeypatch, played(inputs_lost=["a message"]))
    monkeypatch.setattr(running, "keep", lambda *_: None)  # there is no stack to keep
    task = asyncio.create_task(script.run(tmp_path, 0))
    await script.endless.wait()
    task.cancel()
    assert not (await task).ok


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_that_is_told_to_end_prints_what_was_played(
    tmp_path: Path, number: signal.Signals
) -> None:
    code = f"""
        import signal
        import sys
        # A shell starts what runs in the background with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        import pytest
        from components.cli.chaos import main
        from tests.unit.chaos.test_run import Rounds, played

        script = Rounds(pytest.MonkeyPatch(), played(), played())
        sys.exit(main(["{NAME}", "--rounds", "0", "--json", "--home", {str(tmp_path)!r}]))
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(code),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"round 2" not in await process.stderr.readline():
            assert process.returncode is None
        process.send_signal(number)
        told, _ = await process.communicate()
    result = msgspec.json.decode(told, type=ChaosResult)
    assert (process.returncode, result.rounds, result.ok) == (0, 2, True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotInTime("not within 60 s: it is so"), "not within 60 s: it is so"),
        (NotThere("three NATS nodes"), "needs three NATS nodes"),
        (ControlError(500, "a defect"), "ControlError: 500 a defect"),
        (
            ExceptionGroup(
                "a", [ExceptionGroup("b", [NotThere("x")]), KeyError("y"), KeyError("y")]
            ),
            "needs x; KeyError: 'y'",
        ),
    ],
)
def test_a_reason_is_told_without_the_groups_around_it(error: Exception, words: str) -> None:
    assert in_words(error) == words


def test_who_draws_what_depends_on_nobody_elses_draws() -> None:
    first = dice(1, 2, "fault").random()
    assert first == dice(1, 2, "fault").random()
    assert first not in (dice(1, 2, "load").random(), dice(1, 3, "fault").random())
