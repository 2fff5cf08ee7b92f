"""What ``modbot restore`` tells people: where a guild was rebuilt from, and what differs."""

from typing import TYPE_CHECKING, Any, Final

from components.cli.text import columns
from components.restoring import moments
from components.restoring.difference import PARTS, Change, columns_that_differ
from contracts.requests import RestoreView

if TYPE_CHECKING:
    from components.cli.restore import Report

SHOWN: Final = 40
LONGEST: Final = 48
"""Characters of a value."""
NAMES: Final = {"cases": "case", "reports": "report on", "member_threads": "thread of"}


def shown(report: "Report") -> str:
    """The whole answer."""
    base = report.base
    origin = "its log from the first input"
    if base.kind == "replica":
        origin = (
            f"the backup {base.replica} at its transaction {base.transaction} (input"
            f" {base.sequence}) and {report.replayed} inputs of the log"
        )
    today = f"rebuilt too, to input {report.today.sequence}, and "
    if report.today.equal is None:
        today += "compared with nobody: the guild has no owner"
    elif report.today.equal:
        today += "equal to what its owner has"
    else:
        today += "NOT equal to what its owner has: do not trust what is below"
    then = f"guild {report.guild} as it was at {report.at}: input {report.rebuilt_to}"
    lines = [
        f"{then}, rebuilt from {origin}",
        f"today's state is {today}",
        f"the earliest moment that can be rebuilt: {report.earliest}",
        "",
        difference(report.today.changes),
    ]
    return "\n".join(lines)


def difference(changes: list[Change]) -> str:
    """Then against now, in words and as a table."""
    lines = [_words(part, [c for c in changes if c.part == part]) for part in PARTS]
    rows = [row for change in changes for row in _rows(change)]
    if rows:
        lines += ["", columns(("what", "then", "now"), rows[:SHOWN])]
    if len(rows) > SHOWN:
        lines.append(f"… and {len(rows) - SHOWN} more (--json shows them)")
    return "\n".join(lines)


def done(view: RestoreView) -> str:
    """What was put back or taken back."""
    of = f"{' and '.join(view.parts)} as of {moments.shown(view.at_ms)}"
    if view.state == "undone":
        words = f"the restore {view.restore} ({of}) is undone: {view.rows} rows as they were before"
        if view.left:
            words += f"; {view.left} left as they are, because they have changed since"
        return words
    return f"{of} are back in force, {view.rows} rows; to take that back: --undo {view.restore}"


def _words(part: str, changes: list[Change]) -> str:
    if not changes:
        return f"{part}: no difference"
    if part == "settings":
        return f"settings: {len(changes)} changed since"
    counts = [
        (sum(change.kind == kind for change in changes), words)
        for kind, words in (
            ("changed", "changed since"),
            ("gone", "gone since"),
            ("new", "came since (they stay)"),
        )
    ]
    return f"{part}: " + ", ".join(f"{count} {words}" for count, words in counts if count)


def _rows(change: Change) -> list[tuple[str, str, str]]:
    if change.part == "settings":
        return [(str(change.key[0]), _cell(change.then), _cell(change.now))]
    name = f"{NAMES[change.table]} {change.key[0]}"
    if change.kind == "gone":
        return [(name, _row(change.then), "gone")]
    if change.kind == "new":
        return [(name, "", _row(change.now))]
    differing = columns_that_differ(change)
    return [(f"{name} {column}", _cell(was), _cell(is_)) for column, was, is_ in differing] or [
        (name, "", "differs in details (--json shows them)")
    ]


def _row(row: dict[str, Any]) -> str:
    """The columns that tell a row from others."""
    named = ("action", "status", "username", "user_id", "tier", "state")
    return _cell(" ".join(str(row[name]) for name in named if row.get(name)))


def _cell(value: Any) -> str:
    text = "" if value is None else str(value).replace("\n", " ")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
