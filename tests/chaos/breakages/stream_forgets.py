"""The stream does not recognise what comes again: its window is next to nothing."""

from typing import Any

from components.chaos.inside.control import REPLICA

SHORTEST_NS = 100_000_000
"""The server's least window for duplicates."""


def install() -> None:
    """Shrink the stream's window where it is made."""
    if REPLICA != "streams":
        return
    from contracts import storage

    inputs_stream = storage.inputs_stream

    def forgetful() -> dict[str, Any]:
        return {**inputs_stream(), "duplicate_window": SHORTEST_NS}

    storage.inputs_stream = forgetful
