"""Logs of child processes stay bounded while they are written."""

from pathlib import Path

import pytest

from components.process import log_files


def test_a_log_that_grew_too_large_is_set_aside_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "LOG_BYTES_MAX", 10)
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a long line\n")
        log_files.trim(log)
        writer.write(b"next\n")
        log_files.trim(log)
    assert log.read_bytes() == b"next\n"
    assert (tmp_path / "log.1").read_bytes() == b"a long line\n"


def test_a_log_that_is_too_large_at_the_start_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "LOG_BYTES_MAX", 10)
    log = tmp_path / "logs" / "log"
    with log_files.open_log(log) as writer:
        writer.write(b"a long line\n")
    with log_files.open_log(log) as writer:
        writer.write(b"next\n")
    assert log.read_bytes() == b"next\n"
    assert log.with_name("log.1").read_bytes() == b"a long line\n"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert log_files.size_of(tmp_path / "log") == 0
    log_files.trim(tmp_path / "log")
