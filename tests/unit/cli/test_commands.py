"""The command `modbot`: finding sub-commands, help, words instead of tracebacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.cli import __main__ as cli
from components.cli.text import columns, pairs
from components.process import exits


def test_every_command_has_a_help_text(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.run([name, "--help"])
        assert ended.value.code == 0
        assert f"usage: modbot {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


def test_an_unknown_command_is_named_and_the_known_ones_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["lift"]) == cli.USAGE
    assert "no command 'lift'" in capsys.readouterr().err


def test_without_arguments_service_mode_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVICE_MODE", "cheese")
    with pytest.raises(SystemExit) as ended:
        cli.run([])
    assert ended.value.code == 2
    assert "SERVICE_MODE is 'cheese'" in capsys.readouterr().err


def test_run_without_a_component_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SERVICE_MODE", raising=False)
    with pytest.raises(SystemExit):
        cli.run(["run"])
    assert "SERVICE_MODE is not set" in capsys.readouterr().err


def test_a_question_without_a_stack_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODBOT_NATS_URL", raising=False)
    assert cli.run(["status", "--home", str(tmp_path)]) == 1
    assert "modbot up" in capsys.readouterr().err


def test_something_that_is_no_guild_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(["guild", "modbot.>", "quarantine"])
    assert "is not a guild id" in capsys.readouterr().err


def test_a_setting_that_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODBOT_STACK_GATEWAYS", "many")
    assert cli.run(["up"]) == exits.CONFIG
    assert "MODBOT_STACK_GATEWAYS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--guilds", "-1"], "--guilds must be"),
        (["--rate", "0"], "--rate above 0"),
        (["--guilds", "0", "--traffic", "texts.tsv"], "--traffic needs"),
        (["--traffic", "/nowhere/texts.tsv"], "cannot read /nowhere/texts.tsv"),
    ],
)
def test_traffic_that_cannot_be_posted_is_refused_before_anything_starts(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    home = tmp_path / "home"
    assert cli.run(["up", "--home", str(home), *arguments]) == exits.CONFIG
    assert words in capsys.readouterr().err
    assert not home.exists()


def test_external_nats_without_seeds_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODBOT_STACK_NATS_URL", "nats://example.invalid:4222")
    assert cli.run(["processes", "--home", str(tmp_path)]) == exits.CONFIG
    assert "MODBOT_STACK_NATS_SEEDS" in capsys.readouterr().err


def test_a_missing_server_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("components.binaries.sysconfig.get_path", lambda _: "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.run(["processes", "--home", str(tmp_path)]) == exits.CONFIG
    words = capsys.readouterr().err
    assert "nats-server" in words
    assert "make setup" in words


def test_help_imports_no_component() -> None:
    code = (
        "import sys, components.cli.__main__ as cli; cli.run(['--help']); "
        "print([m for m in sys.modules if m.startswith('components.') "
        "and not m.startswith('components.cli')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_columns_align_words_left_and_numbers_right() -> None:
    assert columns(("pod", "guilds"), [("gateway-0", 9), ("gateway-1", 10)]).splitlines() == [
        "pod        guilds",
        "gateway-0       9",
        "gateway-1      10",
    ]


def test_pairs_align_values() -> None:
    assert pairs([("a", 1), ("long", "x")]) == "a     1\nlong  x"
