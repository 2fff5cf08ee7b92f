"""The lock, the record and the reset of a data folder."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from components.stack import running
from components.stack.errors import AlreadyRunning


def stack_of(home: Path, *processes: running.RunningProcess) -> running.RunningStack:
    return running.RunningStack(
        pid=os.getpid(),
        home=str(home),
        ready=True,
        urls={"nats": "nats://127.0.0.1:4222"},
        ports={"nats": 4222},
        credentials={"seeds": "/seeds"},
        logs="/logs",
        simulated=True,
        processes=list(processes),
    )


def test_a_second_stack_on_the_same_folder_is_refused_in_words(tmp_path: Path) -> None:
    with (
        running.locked(tmp_path),
        pytest.raises(AlreadyRunning) as refused,
        running.locked(tmp_path),
    ):
        pass
    assert str(os.getpid()) in str(refused.value)
    assert "--home" in str(refused.value)


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with running.locked(tmp_path):
            pass


def test_a_record_is_read_as_it_was_written_and_is_private(tmp_path: Path) -> None:
    stack = stack_of(tmp_path)
    running.write(tmp_path, stack)
    assert running.read(tmp_path) == stack
    assert stat.S_IMODE((tmp_path / running.RECORD).stat().st_mode) == 0o600


def test_no_record_is_no_stack(tmp_path: Path) -> None:
    assert running.read(tmp_path) is None
    assert running.read(tmp_path / "missing") is None


def test_leftovers_of_a_killed_stack_are_ended(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    named = running.process_of("nats", left.pid)
    assert named is not None
    running.write(tmp_path, stack_of(tmp_path, named))
    assert running.end_leftovers(tmp_path) == ["nats"]
    assert running.process_of("nats", left.pid) is None
    left.wait()


def test_a_process_that_only_reuses_the_number_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        named = running.RunningProcess(name="nats", pid=other.pid, created=1.0)
        running.write(tmp_path, stack_of(tmp_path, named))
        assert running.end_leftovers(tmp_path) == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_reset_removes_everything_but_the_lock(tmp_path: Path) -> None:
    (tmp_path / "nats" / "store").mkdir(parents=True)
    (tmp_path / "ports.json").write_text("{}")
    with running.locked(tmp_path):
        assert running.reset(tmp_path) == ["nats", "ports.json"]
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_reset_of_a_folder_that_is_not_a_stacks_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a stack's"):
        running.reset(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
