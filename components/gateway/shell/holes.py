"""Decides whether a guild's log continues what the database holds of it.

No pod ever serves a guild from less than its history: `refusal` gives the reason not to serve,
in words for an operator, or None; `refusal_of_rows` the reason not to take rows in from elsewhere.
Pure: what they decide on is read by the caller.
"""

import msgspec

from components.bus.stream import StreamBounds
from components.gateway.engine.model import Checkpoint
from components.gateway.engine.transfer import GuildRows
from contracts.ids import Sequence
from contracts.records import Assignment


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """The stream, and the guild's first message on it (None: it holds none)."""

    bounds: StreamBounds
    first: Sequence | None


def refusal(
    assignment: Assignment,
    checkpoint: Checkpoint | None,
    log: LogState,
    complete_up_to: Sequence,
) -> str | None:
    """Why the guild cannot be served from these rows and this log.

    ``complete_up_to``: the stream sequence up to which this pod is known to have applied
    everything of the guild.
    """
    stream = log.bounds
    if checkpoint is not None and checkpoint.sequence > 0:
        if checkpoint.generation != stream.generation:
            return (
                f"the rows are of stream generation {checkpoint.generation}, "
                f"the stream is {stream.generation}: restore or confirm by hand"
            )
        if checkpoint.sequence > stream.last:
            return (
                f"the rows are at sequence {checkpoint.sequence}, the stream ends at {stream.last}"
            )
        held_from = max(checkpoint.sequence, complete_up_to) + 1
        if stream.first > held_from:
            return (
                f"the stream starts at {stream.first}, but what this pod has is complete "
                f"only up to {held_from - 1}"
            )
        return None
    if assignment.generation != stream.generation:
        return (
            f"the guild was placed in stream generation {assignment.generation}, "
            f"the stream is {stream.generation}, and no rows are here"
        )
    if log.first != assignment.first_sequence:
        holds = "nothing" if log.first is None else f"only from {log.first} on"
        return (
            f"no rows are here and the log holds {holds} of the guild, "
            f"whose first input was {assignment.first_sequence}"
        )
    return None


def refusal_of_rows(
    rows: GuildRows, here: Checkpoint | None, stream: StreamBounds, whose: str
) -> str | None:
    """Why rows from elsewhere may not take the place of what is here, whose log does not continue
    it. What is here may be all that is left of what the guild has been told was done, so nothing
    that knows less replaces it. ``whose``: where the rows are from."""
    if rows.generation != stream.generation:
        return (
            f"the rows of {whose} are of stream generation {rows.generation}, "
            f"the stream is {stream.generation}"
        )
    if rows.sequence > stream.last:
        return (
            f"the rows of {whose} are at sequence {rows.sequence}, the stream ends at {stream.last}"
        )
    if stream.first > rows.complete + 1:
        return (
            f"the stream starts at {stream.first}, but what {whose} has is complete "
            f"only up to {rows.complete}"
        )
    if here is not None and here.generation == rows.generation and here.sequence > rows.sequence:
        return (
            f"the rows of {whose} are at sequence {rows.sequence}, those that are here, "
            f"at {here.sequence}, know more"
        )
    return None
