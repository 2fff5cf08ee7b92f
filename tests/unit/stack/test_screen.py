"""What a person sees: a table on a terminal, lines elsewhere."""

import io
from pathlib import Path

from rich.console import Console

from components.stack.overview import Row
from components.stack.plan import DoneProbe, Process
from components.stack.screen import LINE_EVERY_S, TABLE_EVERY_S, Screen
from components.stack.supervisor import Supervised

ROWS = [
    Row(name="nats", state="ready", pid=10, memory_mib=30.4),
    Row(name="gateway-0", state="ready", pid=11, memory_mib=60, guilds=12, events_per_s=3.25),
    Row(name="litestream (gateway-0)", state="running", pid=12, memory_mib=36),
    Row(name="shard-0", state="ready", pid=13, memory_mib=50, guilds=12, events_per_s=9.0),
    Row(name="edge-0", state="restarting", restarts=2, words="address in use"),
]


def test_without_a_terminal_a_line_sums_up() -> None:
    output = io.StringIO()
    screen = Screen(output)
    screen.note("members posted 5 messages")
    screen.show(ROWS)
    assert output.getvalue() == (
        "4/5 ready, 12 guilds, 3.2 events/s, 176 MiB, 2 restarts, edge-0 restarting, "
        "members posted 5 messages\n"
    )
    assert screen.every_s == LINE_EVERY_S


def test_on_a_terminal_every_process_has_its_row() -> None:
    output = io.StringIO()
    screen = Screen(output)
    screen.console = Console(file=output, force_terminal=True, width=100, color_system=None)
    screen.show(ROWS)
    screen.end_table()
    shown = [" ".join(line.split()) for line in output.getvalue().splitlines()]
    assert "gateway-0 ready 11 60 MiB 12 3.2" in shown
    assert "litestream (gateway-0) running 12 36 MiB" in shown
    assert "edge-0 restarting 2" in shown
    assert screen.every_s == TABLE_EVERY_S


def test_changes_are_told_in_lines() -> None:
    output = io.StringIO()
    screen = Screen(output)
    process = Process(name="nats", label="servers", command=[], probe=DoneProbe())
    child = Supervised(process, Path("log"))
    for state, words, killed in (
        ("starting", "", False),
        ("ready", "", False),
        ("restarting", "address in use", False),
        ("refused", "no such user", False),
        ("stopped", "", False),
        ("stopped", "", True),
    ):
        child.state, child.words, child.killed = state, words, killed  # type: ignore[assignment]
        screen.changed(child)
    assert output.getvalue().splitlines() == [
        "  nats         ready (0.0 s)",
        "  nats         ended: address in use",
        "  nats         refused: no such user",
        "  nats         stopped",
        "  nats         killed: it did not stop when asked to",
    ]
