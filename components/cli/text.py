"""Plain text for people: columns, times."""

from collections.abc import Sequence
from datetime import UTC, datetime

from contracts.operations import PodSummary


def columns(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headings, aligned; numbers to the right."""
    table = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(headings))
    ]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def pairs(values: Sequence[tuple[str, object]]) -> str:
    """Names and values, one a line."""
    width = max(len(name) for name, _ in values)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in values)


def kept(pod: PodSummary) -> str:
    """How long a pod's backups are kept."""
    return f"{pod.backup_retention_h:g} h" if pod.backup_retention_h else "no backup"


def pruning(pod: PodSummary) -> str:
    """How many replicas a pod has deleted, and when it last looked."""
    if not pod.backup_retention_h:
        return ""
    if not pod.pruning_looked_ms:
        return "not looked yet"
    return f"{pod.pruned_replicas}, looked {moment(pod.pruning_looked_ms)}"


def moment(ms: int) -> str:
    """A time on the bus, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
