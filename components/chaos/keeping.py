"""Keeps the evidence of a round that failed: everything that was read, and what lies on disk."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from components.chaos.checker import History, Violations
from components.chaos.watching import Watched
from components.chaos.words import in_words
from components.traffic.evidence import Evidence


def keep(
    folder: Path, home: Path, history: History, violations: Violations, watched: Watched, words: str
) -> None:
    """Write the round's evidence below ``folder``; what the stack's files do not give is named in
    ``lacks.txt``. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fault.txt").write_text(words + "\n", encoding="utf-8")
    (folder / "violations.json").write_bytes(msgspec.json.format(msgspec.json.encode(violations)))
    evidence = history.evidence
    keep_evidence(folder, evidence)
    lines(folder / "clients.ndjson", history.asked)
    lines(folder / "probes.ndjson", [*history.answers, *history.probe_posts])
    for guild, replayed in history.replays.items():
        for held in (*history.held.get(guild, ()), *history.backups.held.get(guild, ())):
            if replayed.dumps.get(held.sequence) != held.dump:
                name = f"{guild}-{held.sequence}"
                holder = held.pod.replace(" ", "-")
                (folder / f"dump-{name}-{holder}.ndjson").write_bytes(held.dump)
                expected = replayed.dumps.get(held.sequence, b"")
                (folder / f"dump-{name}-replayed.ndjson").write_bytes(expected)
    with lacking(folder, "replicas"):
        _keep_replicas(folder / "replicas", home / "s3", history)
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
    logs. What cannot be read is named in ``lacks.txt``."""
    lines(
        folder / "buckets.ndjson",
        (
            {**msgspec.to_builtins(change), "value": change.value and change.value.decode()}
            for change in watched.changes
        ),
    )
    for database in sorted((home / "pods").glob("*/gateway.db")):
        with lacking(folder, str(database)):
            _copy_database(database, folder / f"{database.parent.name}.db")
    with lacking(folder, "logs"):
        shutil.copytree(home / "logs", folder / "logs", dirs_exist_ok=True)


@contextlib.contextmanager
def lacking(folder: Path, what: str) -> Iterator[None]:
    """Note in ``lacks.txt`` why this part of the evidence is not there, and go on without it."""
    try:
        yield
    except Exception as error:  # a disk is gone, a database is broken: what else there is stays
        with (folder / "lacks.txt").open("a", encoding="utf-8") as file:
            file.write(f"{what}: {in_words(error)}\n")


def _keep_replicas(folder: Path, bucket: Path, history: History) -> None:
    """Of states that differ, what was restored and what it was restored from."""
    if not history.backups.failures and all(
        held.dump == history.replays[guild].dumps.get(held.sequence)
        for guild, all_held in history.backups.held.items()
        for held in all_held
    ):
        return
    for pod, replica in history.backups.replicas.items():
        for stored in bucket.glob(f"*/{replica}"):
            # Litestream goes on meanwhile: what it compacts away is gone
            shutil.copytree(
                stored,
                folder / pod,
                dirs_exist_ok=True,
                copy_function=_copy_if_there,
            )
        if pod in history.backups.files:
            _copy_database(history.backups.files[pod], folder / f"{pod}.db")


def _copy_if_there(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


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
