"""The stream does not recognise what comes again: its window is next to nothing. So that something
does come again when a shard is killed, shards save seldom up to where they have read."""

from typing import Any

from components.chaos.inside.control import REPLICA

SHORTEST_NS = 100_000_000
"""The server's least window for duplicates."""
SAVE_EVERY_S = 60.0
"""Longer than from a stack's start to a round's fault, on a slow machine too."""


def install() -> None:
    """Shrink the stream's window where it is made, and widen the shards' pause."""
    if REPLICA.startswith("shard-"):
        from components.shard import resume_data

        resume_data.SAVE_EVERY_S = SAVE_EVERY_S
    if REPLICA != "streams":
        return
    from contracts import storage

    inputs_stream = storage.inputs_stream

    def forgetful() -> dict[str, Any]:
        return {**inputs_stream(), "duplicate_window": SHORTEST_NS}

    storage.inputs_stream = forgetful
