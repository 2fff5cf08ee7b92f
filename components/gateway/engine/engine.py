"""The engine: applies a guild's log to SQLite, one input at a time, the same everywhere.

Promise: after the same inputs a guild's rows are equal byte for byte (`dump.canonical_dump`),
whoever applied them, in batches of any size, crashed and repeated anywhere. The caller begins and
commits a transaction around any number of calls; each input lies in a savepoint of its own.

Fails: an input that is invalid by itself or by the state is quarantined, visibly, and the guild
goes on. `MisuseOfEngine` means a bug in the caller. Anything else (I/O, memory) propagates: the
caller must roll back and stop.

Parking and skipping: `park` notes, outside the guild's state, that the guild waits at an input.
The log's own word is a later `SkipInput`; whoever applies the log, live or in a replay, must look
for it and hand the named input to `skip` instead of `apply`. Two replays that do so agree.
"""

import sqlite3
from typing import Final

from components.gateway.engine import pod_tables, queries, reads
from components.gateway.engine.decoding import decode_input, kind_of
from components.gateway.engine.errors import (
    GuildParked,
    InvalidInput,
    MisuseOfEngine,
    OutOfOrder,
    UnknownGuild,
)
from components.gateway.engine.guild_row import Standing, find_guild, find_standing
from components.gateway.engine.inputs import InputApplier
from components.gateway.engine.model import (
    Applied,
    ArmedTimer,
    Checkpoint,
    CommandReply,
    Effect,
    LoggedInput,
    PendingFact,
    UndoQuestion,
)
from components.gateway.engine.policy import Context
from components.gateway.engine.registry import find_policies
from components.gateway.engine.replies import find_reply
from components.gateway.engine.rules import RulesCache
from components.gateway.engine.schema import drop_guild
from contracts.facts import InputQuarantined
from contracts.ids import Epoch, GuildId, PodId, RequestId, Sequence
from contracts.inputs import AnyInput, SkipInput
from contracts.message import MalformedMessage, Message
from contracts.requests import Request

KEPT_QUARANTINE: Final = 1_000
MAX_REASON: Final = 500
"""Characters of a quarantine's reason: a decoder may quote what it met."""


class Engine:
    """All guilds of one database. Not thread-safe: one connection, one caller."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._rules = RulesCache()
        self._inputs = InputApplier(find_policies())

    def guilds(self) -> list[GuildId]:
        """The guilds with rows here."""
        rows = self._database.execute("SELECT guild_id FROM guilds ORDER BY guild_id")
        return [guild for (guild,) in rows]

    def checkpoint(self, guild: GuildId) -> Checkpoint | None:
        """How far the guild's log is applied; None without rows of the guild."""
        row = find_guild(self._database, guild)
        if row is None:
            return None
        return Checkpoint(
            generation=row.generation,
            sequence=row.sequence,
            epoch=row.epoch,
            time_ms=row.time_ms,
            parked_at=row.parked_at,
            parked_reason=row.parked_reason,
        )

    def create(self, guild: GuildId, generation: str) -> None:
        """The first row of a guild, at sequence 0. A guild that has rows stays as it is."""
        self._database.execute(
            "INSERT OR IGNORE INTO guilds (guild_id, generation) VALUES (?, ?)",
            (guild, generation),
        )

    def drop(self, guild: GuildId) -> None:
        """Remove every row of the guild."""
        drop_guild(self._database, guild)

    def apply(self, item: LoggedInput) -> Applied:
        """Apply the next input of a guild's log; see the module for the promise."""
        row = self._next(item)
        if row.parked_at is not None:
            raise GuildParked(item.guild, row.parked_at)
        context = self._context(item, row)
        decoded: AnyInput | None = None
        self._database.execute("SAVEPOINT input")
        try:
            decoded = decode_input(item.data)
            applied = self._inputs.apply(context, item, decoded).applied(context)
        except (InvalidInput, MalformedMessage, OverflowError) as error:
            # OverflowError: a number of the input that SQLite cannot hold
            self._undo()
            return self._set_aside(item, row, decoded, str(error))
        except BaseException:
            self._undo()
            raise
        self._advance(item, context.time_ms)
        self._database.execute("RELEASE input")
        return applied

    def park(self, guild: GuildId, sequence: Sequence, reason: str) -> None:
        """Stop the guild before the input at ``sequence``; not part of its state."""
        pod_tables.park(self._database, guild, sequence, reason)

    def skip(self, item: LoggedInput, word: SkipInput) -> Applied:
        """Go on over an input that the log's ``word`` names: nothing of it is applied, and the
        quarantine says who wanted that and why."""
        if word.sequence != item.sequence:
            raise MisuseOfEngine(f"skip of input {word.sequence} was handed {item.sequence}")
        row = self._next(item)
        try:
            decoded = decode_input(item.data)
        except InvalidInput:
            decoded = None
        pod_tables.unpark(self._database, item.guild)
        reason = f"skipped by {word.actor.kind} {word.actor.id}: {word.reason}"
        return self._set_aside(item, row, decoded, reason)

    def pending_effects(self, guild: GuildId) -> list[Effect]:
        """Effects without a result, answers and removals first, then in the order asked for."""
        return queries.pending_effects(self._database, guild)

    def pending_facts(self, guild: GuildId) -> list[PendingFact]:
        """Facts beyond the mark, in order."""
        return queries.pending_facts(self._database, guild)

    def facts_mark(self, guild: GuildId) -> tuple[Sequence, int] | None:
        """The last fact that is known to be in EVENTS; None before the first."""
        row = find_guild(self._database, guild)
        if row is None or row.facts_index < 0:
            return None
        return row.facts_sequence, row.facts_index

    def timers(self, guild: GuildId) -> list[ArmedTimer]:
        """Timers that are pending, the next due first."""
        return queries.timers(self._database, guild)

    def undone(self, question: UndoQuestion) -> bool:
        """Whether somebody undid on the log, after ``since``, what the effect would do."""
        return queries.undone(self._database, question)

    def message_of_nonce(self, guild: GuildId, nonce: str) -> str | None:
        """The id of our own message with this nonce, if its MESSAGE_CREATE is on the log."""
        return queries.message_of_nonce(self._database, guild, nonce)

    def reply(self, guild: GuildId, request_id: RequestId) -> CommandReply | None:
        """What a request that writes was answered; None if it was not, or too long ago."""
        return find_reply(self._database, guild, request_id)

    def read(self, guild: GuildId, request: Request, *, pod: PodId, epoch: Epoch) -> Message:
        """The reply to a request that reads; else `ServiceError`."""
        return reads.read(self._database, guild, request, pod=pod, epoch=epoch)

    def _next(self, item: LoggedInput) -> Standing:
        row = find_standing(self._database, item.guild)
        if row is None:
            raise UnknownGuild(item.guild)
        if item.sequence <= row.sequence:
            raise OutOfOrder(item.guild, item.sequence, row.sequence)
        return row

    def _context(self, item: LoggedInput, row: Standing) -> Context:
        return Context(
            self._database,
            guild=item.guild,
            sequence=item.sequence,
            time_ms=max(item.stored_ms, row.time_ms),
            traceparent=item.traceparent,
            rules=self._rules.of(row.settings_version, row.settings),
            guild_name=row.name,
            owner_id=row.owner_id,
            bot_user_id=row.bot_user_id,
        )

    def _set_aside(
        self, item: LoggedInput, row: Standing, decoded: AnyInput | None, reason: str
    ) -> Applied:
        """Quarantine the input: nothing of it is applied, the guild goes on."""
        context = self._context(item, row)
        outcome = self._inputs.note_quarantined(context, item, decoded)
        outcome.reason = reason[:MAX_REASON]
        kind = kind_of(item.data, decoded)
        context.execute(
            "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?)",
            (item.guild, item.sequence, kind, outcome.reason, context.time_ms),
        )
        context.execute(
            "DELETE FROM quarantine WHERE guild_id = ?1 AND sequence <= ("
            " SELECT sequence FROM quarantine WHERE guild_id = ?1"
            " ORDER BY sequence DESC LIMIT 1 OFFSET ?2)",
            (item.guild, KEPT_QUARANTINE),
        )
        context.execute(
            "UPDATE guilds SET quarantined = quarantined + 1 WHERE guild_id = ?", (item.guild,)
        )
        context.emit_fact(
            InputQuarantined(input_sequence=item.sequence, kind=kind, reason=outcome.reason)
        )
        self._advance(item, context.time_ms)
        return outcome.applied(context)

    def _advance(self, item: LoggedInput, time_ms: int) -> None:
        self._database.execute(
            "UPDATE guilds SET sequence = ?, time_ms = ? WHERE guild_id = ?",
            (item.sequence, time_ms, item.guild),
        )

    def _undo(self) -> None:
        # an I/O error may have ended the whole transaction, savepoint and all
        if self._database.in_transaction:
            self._database.execute("ROLLBACK TO input")
            self._database.execute("RELEASE input")
