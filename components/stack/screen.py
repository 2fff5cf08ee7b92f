"""What `modbot up` shows: progress while it starts, then a live table, or lines without a terminal.

Everything goes to one console; with ``--json`` that is stderr, so that stdout holds the object.
"""

from collections.abc import Sequence
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from components.stack.overview import Row
from components.stack.supervisor import Supervised

STATE_STYLES = {
    "ready": "green",
    "done": "green",
    "running": "green",
    "starting": "yellow",
    "waiting": "dim",
    "restarting": "red",
    "refused": "bold red",
    "stopping": "yellow",
    "stopped": "dim",
}
LINE_EVERY_S = 10.0
"""Without a terminal: a status line this often."""
TABLE_EVERY_S = 1.0


class Screen:
    """A console that may be a terminal."""

    def __init__(self, output: IO[str]) -> None:
        self.console = Console(file=output, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._note = ""

    @property
    def every_s(self) -> float:
        """How often `show` is worth calling."""
        return TABLE_EVERY_S if self.console.is_terminal else LINE_EVERY_S

    def line(self, text: str, style: str = "") -> None:
        """A line of progress."""
        self.console.print(Text(text, style=style))

    def changed(self, child: Supervised) -> None:
        """A process changed its state."""
        if child.state in ("ready", "done"):
            self.line(f"  {child.name:<12} {child.state} ({child.ready_after_s:.1f} s)", "green")
        elif child.state == "restarting":
            self.line(f"  {child.name:<12} ended: {child.words}", "red")
        elif child.state == "refused":
            self.line(f"  {child.name:<12} refused: {child.words}", "bold red")
        elif child.state == "stopped":
            how = "killed: it did not stop when asked to" if child.killed else "stopped"
            self.line(f"  {child.name:<12} {how}", "yellow" if child.killed else "dim")

    def show(self, rows: Sequence[Row]) -> None:
        """The state of everything, in place of the last."""
        if not self.console.is_terminal:
            self.line(", ".join(filter(None, (_line(rows), self._note))))
            return
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        self._live.update(Group(_table(rows), Text(self._note, style="dim")), refresh=True)

    def note(self, text: str) -> None:
        """A line that is kept up to date below the table."""
        self._note = text

    def end_table(self) -> None:
        """Leave the last table as it is; what follows comes below."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("process", "state"):
        table.add_column(heading)
    for heading in ("pid", "restarts", "memory", "guilds", "events/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            Text(row.state, style=STATE_STYLES.get(row.state, "")),
            "" if row.pid is None else str(row.pid),
            str(row.restarts) if row.restarts else "",
            f"{row.memory_mib:.0f} MiB" if row.memory_mib else "",
            "" if row.guilds is None else str(row.guilds),
            "" if row.events_per_s is None else f"{row.events_per_s:.1f}",
        )
    return table


def _line(rows: Sequence[Row]) -> str:
    ready = sum(row.state in ("ready", "done", "running") for row in rows)
    pods = [row for row in rows if row.name.startswith("gateway")]
    guilds = sum(row.guilds or 0 for row in pods)
    events = sum(row.events_per_s or 0.0 for row in pods)
    memory = sum(row.memory_mib for row in rows)
    restarts = sum(row.restarts for row in rows)
    troubled = [f"{row.name} {row.state}" for row in rows if row.words]
    return (
        f"{ready}/{len(rows)} ready, {guilds} guilds, {events:.1f} events/s, {memory:.0f} MiB, "
        f"{restarts} restarts" + "".join(f", {words}" for words in troubled)
    )
