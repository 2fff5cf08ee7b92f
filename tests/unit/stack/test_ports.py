"""Ports: usual ones, remembered ones, others when they are taken."""

import socket
from pathlib import Path

import pytest

from components.stack import ports


@pytest.fixture
def taken() -> object:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_replica_has_the_next_usual_port() -> None:
    assert ports.usual("edge-0") == 8080
    assert ports.usual("edge-2") == 8082
    assert ports.usual("nats") == 4222
    assert ports.usual("metrics.gateway-2") == ports.usual("metrics.gateway-0") + 2


def test_a_taken_usual_port_is_left_alone(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ports.DEFAULTS, "nats", taken)
    chosen = ports.choose(tmp_path, ["nats"])
    assert chosen["nats"] != taken
    assert ports.is_free(chosen["nats"])


def test_a_choice_is_remembered(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    (tmp_path / "ports.json").write_text(f'{{"nats": {free}}}')
    assert ports.choose(tmp_path, ["nats"]) == {"nats": free}


def test_a_remembered_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path, taken: int) -> None:
    (tmp_path / "ports.json").write_text(f'{{"s3": {taken}}}')
    assert ports.choose(tmp_path, ["s3"])["s3"] != taken


def test_a_running_stack_keeps_its_ports(tmp_path: Path, taken: int) -> None:
    (tmp_path / "ports.json").write_text(f'{{"s3": {taken}}}')
    assert ports.choose(tmp_path, ["s3"], keep=True) == {"s3": taken}


def test_two_servers_never_share_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ports.DEFAULTS, "s3", ports.usual("nats"))
    chosen = ports.choose(tmp_path, ["nats", "s3"])
    assert chosen["nats"] != chosen["s3"]


def test_a_port_that_another_stack_is_about_to_use_is_left_alone(tmp_path: Path) -> None:
    """Nobody listens there yet."""
    theirs, ours = ports.Claims(), ports.Claims()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    try:
        first = ports.choose(tmp_path / "a", ["s3", "edge-0"], claims=theirs)
        second = ports.choose(tmp_path / "b", ["s3", "edge-0"], claims=ours)
        assert not set(first.values()) & set(second.values())
        theirs.release()
        assert ports.choose(tmp_path / "a", ["s3", "edge-0"], claims=theirs) == first
    finally:
        theirs.release()
        ours.release()


def test_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    assert set(ports.choose(tmp_path, ["nats"])) == {"nats"}
