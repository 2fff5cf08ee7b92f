"""Alarms and nodes as people see them, and what the exit code makes of them."""

from typing import Any

import pytest

from components.cli import ops_text, status
from components.cli.watch_text import is_critical
from contracts.ids import GuildId, Sequence
from contracts.operations import Alarm, ClusterStatus, GuildPlacement, NatsNode

WARNING = Alarm(
    name="backup-lag",
    severity="warning",
    about="gateway-1",
    text="the oldest commit is 95 s old",
    since_ms=1_764_000_000_000,
)
CRITICAL = Alarm(
    name="stream-full",
    severity="critical",
    about="INPUTS",
    text="INPUTS is 95% full",
    since_ms=1_764_000_000_000,
)


def shown(**fields: Any) -> ClusterStatus:
    return ClusterStatus(
        leader="config-0",
        replica="config-0",
        pods=[],
        guilds=0,
        waiting=[],
        waiting_total=0,
        database="up",
        **fields,
    )


@pytest.mark.parametrize("text_of", [status.text_of, ops_text.text_of])
def test_alarms_and_nodes_are_shown_by_both_commands(text_of: Any) -> None:
    nodes = [
        NatsNode(name="nats-0", leads=["INPUTS", "KV_pods", "KV_ends"]),
        NatsNode(name="nats-1", behind=["KV_pods"]),
        NatsNode(name="nats-2", behind=["KV_pods"], away=True),
    ]
    text = text_of(shown(alarms=[CRITICAL, WARNING], nodes=nodes))
    assert (
        "Alarms:\n"
        "- critical, since 2025-11-24 16:00:00 UTC: INPUTS is 95% full (stream-full)\n"
        "- warning, since 2025-11-24 16:00:00 UTC: the oldest commit is 95 s old (backup-lag)"
    ) in text
    lines = [line.split() for line in text.splitlines() if line.startswith("nats-")]
    assert lines == [
        ["nats-0", "current", "INPUTS,", "2", "more"],
        ["nats-1", "behind", "with", "KV_pods"],
        ["nats-2", "away"],
    ]


@pytest.mark.parametrize("text_of", [status.text_of, ops_text.text_of])
def test_without_alarms_and_with_one_server_nothing_is_said(text_of: Any) -> None:
    text = text_of(shown())
    assert "Alarms" not in text
    assert "NATS node" not in text


def test_only_a_critical_alarm_is_a_reason_for_an_exit_code() -> None:
    assert not is_critical(shown(alarms=[WARNING]))
    assert is_critical(shown(alarms=[CRITICAL, WARNING]))
    assert ops_text.exit_code(shown(alarms=[WARNING])) == 0
    assert ops_text.exit_code(shown(alarms=[CRITICAL])) == 1


def test_a_parked_guild_says_where_it_waits_and_how_it_goes_on() -> None:
    placement = GuildPlacement(
        guild=GuildId("42"), name="Gardeners", present=True, state="served", parked_at=Sequence(7)
    )
    assert "at input 7; to go on without it: modbot guild 42 skip 7" in ops_text.text_of(placement)
