"""The two streams: INPUTS, a log for each guild, and EVENTS, its facts.

INPUTS takes an id once (`Nats-Msg-Id`); a second append of it is acknowledged with the first
one's sequence. EVENTS takes a fact only behind the one that its writer names. The simulation
keeps beside the log what a faultless engine makes of it (`Rows`), so that any pod's state can be
held against it at any sequence.
"""

from typing import Literal

import msgspec

from components.simulate.kv import WrongRevision

Kind = Literal["opened", "dispatch", "write", "result", "mark"]
MASK = (1 << 61) - 1


class Input(msgspec.Struct, frozen=True):
    """One message on a guild's log."""

    sequence: int
    before: int
    """The sequence before it on this log; 0: it is the first one."""
    kind: Kind
    id: str
    epoch: int = 0
    """Of an `opened`."""
    effect: bool = False
    """It asks for an effect, which is known by this input's sequence."""
    fact: bool = False
    of: int = 0
    """Of a `result`: the effect. Of a `mark`: the fact up to which all are published."""


class Rows(msgspec.Struct, frozen=True):
    """What a database holds of one guild. A value: applying an input makes another one."""

    sequence: int
    chain: int
    """Hash over all inputs applied, in their order."""
    count: int
    epoch: int
    """The highest that an `opened` on the log named."""
    effects: tuple[int, ...]
    """Asked for, without a result."""
    facts: tuple[int, ...]
    """Derived, and not marked as published."""


EMPTY = Rows(0, 7, 0, 0, (), ())


def applied(rows: Rows, given: Input) -> Rows:
    """The rows after one more input. Total and deterministic, like the engine."""
    effects, facts = rows.effects, rows.facts
    if given.effect:
        effects = (*effects, given.sequence)
    if given.fact:
        facts = (*facts, given.sequence)
    if given.kind == "result":
        effects = tuple(effect for effect in effects if effect != given.of)
    elif given.kind == "mark":
        facts = tuple(fact for fact in facts if fact > given.of)
    return Rows(
        given.sequence,
        (rows.chain * 1_000_003 + given.sequence) & MASK,
        rows.count + 1,
        max(rows.epoch, given.epoch),
        effects,
        facts,
    )


class GuildLog:
    """One guild's subject of INPUTS, and of EVENTS."""

    def __init__(self) -> None:
        self.inputs: dict[int, Input] = {}
        self.last = 0
        self.kept_from = 1
        """Sequences below have expired."""
        self.truth: dict[int, Rows] = {0: EMPTY}
        """The rows of a faultless engine at every sequence of the guild, expired ones too."""
        self.next_of: dict[int, int] = {}
        self.first_ever = 0
        self.facts: list[tuple[int, int, int]] = []
        """(sequence in EVENTS, input's sequence, epoch of who published it)"""
        self.fact_inputs: list[int] = []
        """Sequences of all inputs that derive a fact, in order: what EVENTS must become."""

    def first_kept(self) -> int | None:
        """The first input that is still there."""
        sequence = self.first_ever
        while sequence and sequence < self.kept_from:
            sequence = self.next_of.get(sequence, 0)
        return sequence or None

    def after(self, sequence: int) -> Input | None:
        """The first input that is still there behind a sequence."""
        following = self.next_of.get(sequence)
        if following is None and sequence == 0:
            following = self.first_ever or None
        while following is not None and following < self.kept_from:
            following = self.next_of.get(following)
        return self.inputs[following] if following is not None else None


class Streams:
    """INPUTS and EVENTS of the whole installation."""

    def __init__(self, guilds: list[str]) -> None:
        self.logs = {guild: GuildLog() for guild in guilds}
        self.last = 0
        self.first = 1
        self._ids: dict[str, int] = {}
        self._last_event = 0

    def append(
        self,
        guild: str,
        kind: Kind,
        message_id: str,
        *,
        epoch: int = 0,
        effect: bool = False,
        fact: bool = False,
        of: int = 0,
    ) -> tuple[int, Input | None]:
        """Store an input; returns its sequence, and None when the id was there already."""
        known = self._ids.get(message_id)
        if known is not None:
            return known, None
        self.last += 1
        log = self.logs[guild]
        given = Input(self.last, log.last, kind, message_id, epoch, effect, fact, of)
        self._ids[message_id] = self.last
        log.inputs[self.last] = given
        log.truth[self.last] = applied(log.truth[log.last], given)
        if log.last:
            log.next_of[log.last] = self.last
        else:
            log.first_ever = self.last
        log.last = self.last
        if fact:
            log.fact_inputs.append(self.last)
        return self.last, given

    def holds(self, message_id: str) -> bool:
        """Whether an input of this id is on the log."""
        return message_id in self._ids

    def publish(self, guild: str, fact: int, epoch: int, expected: int) -> int:
        """Add a fact behind the one with the sequence ``expected`` (0: it is the first)."""
        facts = self.logs[guild].facts
        if (facts[-1][0] if facts else 0) != expected:
            raise WrongRevision
        self._last_event += 1
        facts.append((self._last_event, fact, epoch))
        return self._last_event

    def expire_below(self, sequence: int) -> None:
        """Retention: what is below has gone."""
        self.first = max(self.first, sequence)
        for log in self.logs.values():
            log.kept_from = max(log.kept_from, sequence)
