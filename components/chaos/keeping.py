"""Keeps the evidence of a round that failed: everything that was read, and what lies on disk."""

import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from components.chaos.checker import History, Violations
from components.chaos.watching import Watched
from components.traffic.evidence import Evidence


def keep(
    folder: Path, home: Path, history: History, violations: Violations, watched: Watched, words: str
) -> None:
    """Write the round's evidence below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fault.txt").write_text(words + "\n", encoding="utf-8")
    (folder / "violations.json").write_bytes(msgspec.json.format(msgspec.json.encode(violations)))
    evidence = history.evidence
    keep_evidence(folder, evidence)
    lines(folder / "clients.ndjson", history.asked)
    lines(folder / "probes.ndjson", [*history.answers, *history.probe_posts])
    for guild, all_held in history.held.items():
        replayed = history.replays[guild]
        for held in all_held:
            if replayed.dumps.get(held.sequence) != held.dump:
                name = f"{guild}-{held.sequence}"
                (folder / f"dump-{name}-{held.pod}.ndjson").write_bytes(held.dump)
                expected = replayed.dumps.get(held.sequence, b"")
                (folder / f"dump-{name}-replayed.ndjson").write_bytes(expected)
    keep_stack(folder, home, watched)


def keep_evidence(folder: Path, evidence: Evidence) -> None:
    """Write the record and both streams."""
    lines(folder / "record.ndjson", evidence.record)
    lines(folder / "inputs.ndjson", evidence.inputs)
    lines(
        folder / "events.ndjson",
        ({**msgspec.to_builtins(fact), "data": fact.data.decode()} for fact in evidence.facts),
    )


def keep_stack(folder: Path, home: Path, watched: Watched) -> None:
    """Write what can be read without the stack's help: the buckets' changes, every database, all
    logs."""
    lines(
        folder / "buckets.ndjson",
        (
            {**msgspec.to_builtins(change), "value": change.value and change.value.decode()}
            for change in watched.changes
        ),
    )
    for database in sorted((home / "pods").glob("*/gateway.db")):
        _copy_database(database, folder / f"{database.parent.name}.db")
    shutil.copytree(home / "logs", folder / "logs", dirs_exist_ok=True)


def _copy_database(database: Path, copy: Path) -> None:
    """A consistent copy of a database that is in use."""
    source = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    target = sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()


def lines(path: Path, items: Iterable[Any]) -> None:
    """Write one JSON object a line."""
    with path.open("wb") as file:
        for item in items:
            file.write(msgspec.json.encode(item) + b"\n")
