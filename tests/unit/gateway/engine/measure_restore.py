"""Measures the inputs of the biggest restores that are allowed, on disk: a pod's other guilds wait
for each. One has the most rows, the other the most bytes too; the second of each replaces as much.
Seconds of CPU, in brackets those that passed.

Run: python -m tests.unit.gateway.engine.measure_restore
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.gateway.engine.policies.restore import MAX_BYTES, MAX_ROWS
from components.gateway.engine.schema import open_database
from tests.unit.gateway.engine.support import OPERATOR, Log

A_PIECE = 500


def report(number: int, note: str) -> dict[str, Any]:
    """A small row."""
    names = ("user_id", "channel_id", "log_channel_id", "log_message_id", "text_hash")
    values: dict[str, Any] = dict.fromkeys(names, "1")
    values |= {"message_id": str(10**17 + number), "reason": "spam", "tier": "high"}
    return {"table": "reports", "values": {**values, "sequence": 1, "at_ms": 1, "score": len(note)}}


def case(number: int, note: str) -> dict[str, Any]:
    """A row with so much evidence that as many as are allowed have all bytes that are allowed."""
    values: dict[str, Any] = {
        "number": number + 1,
        "user_id": "1",
        "username": "u",
        "action": "ban",
    }
    values |= {"status": "done", "moderator_kind": "bot", "reason": note, "error": ""}
    evidence = '"' + "e" * (MAX_BYTES // MAX_ROWS - 200) + '"'
    values |= {"opened_ms": 1, "signals": "[]", "evidence": evidence, "sequence": 1}
    return {"table": "cases", "values": values}


def asked(log: Log, verb: str, **arguments: Any) -> str:
    """Ask, in a transaction of its own; the seconds it took."""
    body = {"actor": {"kind": OPERATOR.kind, "id": OPERATOR.id}, **arguments}
    began, began_cpu = time.perf_counter(), time.process_time()
    log.database.execute("BEGIN IMMEDIATE")
    reply = log.command(f"restore.{verb}", body).reply
    log.database.execute("COMMIT")
    cpu, passed = time.process_time() - began_cpu, time.perf_counter() - began
    assert reply is not None
    assert reply.error is None, reply.error
    return f"{cpu:.3f} ({passed:.3f})"


def put_back(log: Log, name: str, part: str, rows: list[dict[str, Any]]) -> str:
    """How long each kind of input took, in words."""
    pieces = [rows[at : at + A_PIECE] for at in range(0, len(rows), A_PIECE)]
    asked(log, "begin", restore=name, at_ms=1, parts=[part], pieces=len(pieces))
    took = [
        asked(log, "piece", restore=name, number=number, rows=piece)
        for number, piece in enumerate(pieces, 1)
    ]
    close = asked(log, "close", restore=name)
    return f"first piece {took[0]}, last piece {took[-1]}, close {close}"


def main() -> None:
    """Print seconds."""
    for part, row in (("reports", report), ("cases", case)):
        with TemporaryDirectory() as folder:
            log = Log(database=open_database(Path(folder) / "pod.db"))
            log.database.execute("UPDATE guilds SET cases = ?", (MAX_ROWS,))
            for name in ("first", "second"):
                rows = [row(number, name) for number in range(MAX_ROWS)]
                print(f"{len(rows)} {part}, {name}: {put_back(log, name, part, rows)}")
            print(f"undo {asked(log, 'undo', restore='second')}")
            log.database.close()


if __name__ == "__main__":
    main()
