"""A child's environment and its last words."""

import json
from pathlib import Path

from components.process import log_files
from components.stack import child
from components.stack.plan import DoneProbe, Process


def process(environment: dict[str, str], *, whole: bool = False) -> Process:
    return Process(
        name="shard-0",
        label="modbot",
        command=["true"],
        environment=environment,
        whole_environment=whole,
        probe=DoneProbe(),
    )


def line(level: str, message: str, **more: str) -> str:
    return json.dumps({"level": level, "message": message, **more}) + "\n"


def test_the_starters_variables_are_passed_on() -> None:
    made = child.environment_of(process({"MODBOT_REPLICA": "shard-0"}), {"PATH": "/bin"})
    assert made == {"PATH": "/bin", "MODBOT_REPLICA": "shard-0"}


def test_a_whole_environment_is_not_added_to() -> None:
    assert child.environment_of(process({"A": "1"}, whole=True), {"PATH": "/bin"}) == {"A": "1"}


def test_a_value_does_not_win_over_the_file_that_the_plan_names() -> None:
    starter = {"MODBOT_NATS_SEED": "SUOTHER"}
    made = child.environment_of(process({"MODBOT_NATS_SEED_FILE": "/seed"}), starter)
    assert made == {"MODBOT_NATS_SEED_FILE": "/seed"}


def test_the_discord_token_reaches_components_only_by_file() -> None:
    assert child.environment_of(process({}), {"DISCORD_TOKEN": "secret"}) == {}


def test_the_last_error_is_the_last_word(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line("error", "the token is refused") + line("info", "stopping") + "not json\n")
    assert child.last_words(log) == "the token is refused"


def test_the_last_line_of_a_traceback_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line("error", "stopped", error="Traceback…\n  File x\nKeyError: 'guild'"))
    assert child.last_words(log) == "stopped (KeyError: 'guild')"


def test_without_an_error_it_is_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nlisten: address already in use\n\n")
    assert child.last_words(log) == "listen: address already in use"


def test_words_of_an_earlier_start_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line("error", "long ago"))
    assert child.last_words(log, log_files.size_of(log)) == "it wrote nothing"


def test_a_missing_log_is_said(tmp_path: Path) -> None:
    assert "cannot be read" in child.last_words(tmp_path / "log")
