"""What a dispatch is to a guild, against the same rules written down in plain Python."""

import sqlite3
from contextlib import closing

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gateway.engine import sessions
from components.gateway.engine.schema import open_database
from components.gateway.engine.sessions import SessionPosition
from contracts.ids import GuildId, Sequence, SessionId

GUILD = GuildId("1000")


class Dispatch(msgspec.Struct, frozen=True):
    """One dispatch of a session."""

    session: str
    sequence: int
    part: int
    previous: int | None
    opens: bool


few = st.integers(min_value=0, max_value=3)
dispatches = st.builds(
    Dispatch,
    session=st.sampled_from(["a", "b"]),
    sequence=few,
    part=st.integers(min_value=1, max_value=3),
    previous=st.none() | few | st.sampled_from([-1, -(2**63) - 1, 2**64]),
    opens=st.booleans(),
)


class Rules:
    """Who is current, and how far each session has been seen."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, int, int]] = {}

    def advance(self, it: Dispatch) -> SessionPosition:
        state, last, last_part = self.rows.get(it.session, ("seen", None, 0))
        if last is not None and (it.sequence, it.part) <= (last, last_part):
            return SessionPosition(
                current=state == "current", repeated=True, broken=False, expected=last
            )
        continues = it.part > 1 and last == it.sequence
        if it.opens and state == "seen":
            for name, (other, seen, seen_part) in self.rows.items():
                if other == "current":
                    self.rows[name] = ("retired", seen, seen_part)
            state = "current"
        self.rows[it.session] = (state, it.sequence, it.part)
        return SessionPosition(
            current=state == "current",
            repeated=False,
            broken=it.previous is not None and it.previous != last and not continues,
            expected=last,
        )


def kept(database: sqlite3.Connection) -> dict[str, tuple[str, int, int]]:
    found = database.execute("SELECT session, state, last_sequence, last_part FROM sessions")
    return {session: (state, last, part) for session, state, last, part in found}


def check(database: sqlite3.Connection, given_dispatches: list[Dispatch]) -> None:
    rules = Rules()
    for at, it in enumerate(given_dispatches):
        found = sessions.advance(
            database,
            GUILD,
            SessionId(it.session),
            sequence=it.sequence,
            part=it.part,
            previous=it.previous,
            opens=it.opens,
            at=Sequence(at),
        )
        assert found == rules.advance(it)
        assert kept(database) == rules.rows


def test_a_dispatch_is_what_the_rules_say() -> None:
    with closing(open_database(":memory:")) as database:

        @settings(max_examples=1000)
        @given(st.lists(dispatches, min_size=2, max_size=6))
        def say(given_dispatches: list[Dispatch]) -> None:
            database.execute("DELETE FROM sessions")
            check(database, given_dispatches)

        say()
