"""When a guild may be served from these rows and this log."""

import pytest

from components.bus.stream import StreamBounds
from components.gateway.engine.model import Checkpoint
from components.gateway.engine.transfer import GuildRows
from components.gateway.shell.holes import LogState, refusal, refusal_of_rows
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.records import Assignment

ASSIGNMENT = Assignment(
    guild=GuildId("42"),
    pod=PodId("gateway-0"),
    incarnation=Incarnation("i"),
    epoch=Epoch(2),
    first_sequence=Sequence(10),
    generation=Generation("g1"),
    cause="restarted",
    since_ms=0,
)


def rows(sequence: int, generation: str = "g1") -> Checkpoint:
    return Checkpoint(generation=generation, sequence=Sequence(sequence), epoch=Epoch(1), time_ms=0)


def log(first: int, last: int, guild_first: int | None = 10, generation: str = "g1") -> LogState:
    bounds = StreamBounds(
        generation=generation, first=Sequence(first), last=Sequence(last), messages=1
    )
    return LogState(bounds=bounds, first=None if guild_first is None else Sequence(guild_first))


@pytest.mark.parametrize(
    ("checkpoint", "state", "complete", "words"),
    [
        # rows that the log continues
        (rows(50), log(1, 100), 0, None),
        (rows(50), log(51, 100), 0, None),
        (rows(100), log(101, 100), 0, None),
        # a quiet guild: the stream moved on, but the pod was complete until then
        (rows(50), log(80, 100), 79, None),
        (rows(50), log(80, 100), 90, None),
        # what lies between is lost
        (rows(50), log(52, 100), 0, "starts at 52"),
        (rows(50), log(80, 100), 78, "complete only up to 78"),
        # another stream, or an older one
        (rows(50, "g0"), log(1, 100), 0, "generation"),
        (rows(150), log(1, 100), 0, "ends at 100"),
        # no rows: only from the very first input
        (None, log(1, 100), 0, None),
        (rows(0), log(10, 100), 0, None),
        (None, log(1, 100, guild_first=11), 0, "only from 11 on"),
        (None, log(1, 100, guild_first=None), 0, "nothing"),
        (None, log(1, 100, generation="g2"), 0, "placed in stream generation"),
        # a mark of the pod does not stand in for rows
        (None, log(20, 100, guild_first=20), 90, "only from 20 on"),
    ],
)
def test_a_guild_is_served_only_if_its_log_continues_its_rows(
    checkpoint: Checkpoint | None, state: LogState, complete: int, words: str | None
) -> None:
    reason = refusal(ASSIGNMENT, checkpoint, state, Sequence(complete))
    if words is None:
        assert reason is None
    else:
        assert reason is not None
        assert words in reason


def elsewhere(sequence: int, complete: int, generation: str = "g1") -> GuildRows:
    return GuildRows(
        guild=ASSIGNMENT.guild,
        generation=Generation(generation),
        sequence=Sequence(sequence),
        epoch=Epoch(1),
        engine_version=1,
        schema_version=1,
        complete=Sequence(complete),
    )


@pytest.mark.parametrize(
    ("taken", "here", "state", "words"),
    [
        # whoever has nothing, or less, takes what the log continues
        (elsewhere(50, 50), None, log(1, 100), None),
        (elsewhere(50, 79), rows(20), log(80, 100), None),
        (elsewhere(50, 79), rows(50), log(80, 100), None),
        # what was here is of another stream, and this is of the one that is
        (elsewhere(50, 50), rows(900, "g0"), log(1, 100), None),
        # it is not of this log
        (elsewhere(50, 50, "g0"), None, log(1, 100), "stream generation g0"),
        (elsewhere(50, 50, "g0"), rows(60, "g0"), log(1, 100), "stream generation g0"),
        (elsewhere(150, 150), None, log(1, 100), "ends at 100"),
        (elsewhere(50, 78), None, log(80, 100), "complete only up to 78"),
        # it knows less than what is here
        (elsewhere(50, 50), rows(150), log(1, 100), "know more"),
        (elsewhere(50, 99), rows(51), log(80, 100), "know more"),
    ],
)
def test_rows_are_replaced_only_by_rows_that_the_log_continues_and_that_know_no_less(
    taken: GuildRows, here: Checkpoint | None, state: LogState, words: str | None
) -> None:
    why = refusal_of_rows(taken, here, state.bounds, "gateway-1")
    if words is None:
        assert why is None
    else:
        assert why is not None
        assert words in why
