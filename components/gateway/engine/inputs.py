"""What each kind of input does to a guild, inside the savepoint that `Engine.apply` holds.

Raises `InvalidInput` for an input to be quarantined. A repeated input is ignored: a dispatch by
its session's position, everything else by its id. A dispatch that was read afterwards
(``catch_up``) has no position: it counts while its session is current, by its own id here and by
Discord's id where a policy would act on it twice. So does one that another session may have
delivered too (``overlap``), which has its place in its own session's chain.
"""

from typing import Any, Final

import msgspec

from components.gateway.engine import applied_ids, sessions
from components.gateway.engine.effects import payload_of
from components.gateway.engine.errors import InvalidInput, UnsupportedVersion
from components.gateway.engine.events import decode_event, guild_of
from components.gateway.engine.model import CommandReply, LoggedInput
from components.gateway.engine.outcome import Outcome
from components.gateway.engine.policy import Context, SettledEffect
from components.gateway.engine.registry import PolicyRegistry
from components.gateway.engine.replies import find_reply, keep_reply
from contracts.errors import ErrorCode, ServiceError
from contracts.inputs import (
    AnyInput,
    CommandReceived,
    DiscordDispatch,
    EffectResult,
    FactsPublished,
    InteractionReceived,
    OwnerOpened,
    SkipInput,
    TimerFired,
)

ENGINE_VERSION: Final = 1
"""The newest behaviour this code knows; it takes effect where an `OwnerOpened` names it."""
CAUGHT_UP: Final = frozenset({"MESSAGE_CREATE", "GUILD_AUDIT_LOG_ENTRY_CREATE"})
"""Dispatches that can be read afterwards."""


class InputApplier:
    """Hands inputs to the policies and keeps what the log itself needs kept."""

    def __init__(self, registry: PolicyRegistry) -> None:
        self._registry = registry

    def apply(self, context: Context, item: LoggedInput, decoded: AnyInput) -> Outcome:
        """Apply one input that has not been seen at this sequence."""
        outcome = Outcome()
        if isinstance(decoded, DiscordDispatch) and not decoded.catch_up:
            self._dispatch(context, decoded, outcome)
            return outcome
        if item.message_id and applied_ids.is_applied(
            context.database, context.guild, item.message_id
        ):
            outcome.ignore("its id was applied before")
            if isinstance(decoded, CommandReceived):
                outcome.reply = find_reply(context.database, context.guild, decoded.request_id)
            return outcome
        if isinstance(decoded, DiscordDispatch):
            self._catch_up(context, decoded, outcome)
        else:
            self._other(context, decoded, outcome)
        if item.message_id:
            applied_ids.note_applied(
                context.database, context.guild, item.message_id, context.sequence
            )
        return outcome

    def note_quarantined(
        self, context: Context, item: LoggedInput, decoded: AnyInput | None
    ) -> Outcome:
        """Keep the chain and the ids whole for an input whose changes were undone."""
        outcome = Outcome(status="quarantined")
        if isinstance(decoded, DiscordDispatch) and not decoded.catch_up:
            _advance(context, decoded, outcome, opens=False)
        elif item.message_id and not applied_ids.is_applied(
            context.database, context.guild, item.message_id
        ):
            applied_ids.note_applied(
                context.database, context.guild, item.message_id, context.sequence
            )
        if isinstance(decoded, CommandReceived):
            outcome.reply = CommandReply(
                request_id=decoded.request_id,
                error=ServiceError(ErrorCode.INVALID, "the request could not be applied"),
            )
        return outcome

    def _dispatch(self, context: Context, dispatch: DiscordDispatch, outcome: Outcome) -> None:
        event = _decode(context, dispatch)
        opens = dispatch.event == "GUILD_CREATE" and not event.unavailable
        position = _advance(context, dispatch, outcome, opens=opens)
        if position.repeated:
            outcome.ignore("the session's position is past it")
        elif not position.current:
            outcome.ignore("its session is not the guild's current one")
        elif event is None:
            outcome.ignore(f"event {dispatch.event[:64]} is not used")
        else:
            context.catch_up = dispatch.overlap
            for handler in self._registry.dispatches.get(dispatch.event, ()):
                handler(context, _with_part(event, dispatch))

    def _catch_up(self, context: Context, dispatch: DiscordDispatch, outcome: Outcome) -> None:
        event = _decode(context, dispatch)
        if not sessions.is_current(context.database, context.guild, dispatch.session):
            outcome.ignore("its session is not the guild's current one")
        elif dispatch.event not in CAUGHT_UP:
            outcome.ignore(f"event {dispatch.event[:64]} is not read afterwards")
        else:
            context.catch_up = True
            for handler in self._registry.dispatches.get(dispatch.event, ()):
                handler(context, event)

    def _other(self, context: Context, decoded: AnyInput, outcome: Outcome) -> None:
        match decoded:
            case InteractionReceived():
                self._interaction(context, decoded, outcome)
            case CommandReceived():
                self._command(context, decoded, outcome)
            case TimerFired():
                self._timer(context, decoded, outcome)
            case EffectResult():
                self._result(context, decoded, outcome)
            case FactsPublished():
                _move_mark(context, decoded, outcome)
            case OwnerOpened():
                _open(context, decoded, outcome)
            case SkipInput():
                _note_skip(context, decoded, outcome)
            case _:
                self._hand(context, decoded)

    def _hand(self, context: Context, decoded: AnyInput) -> None:
        for handler in self._registry.inputs.get(type(decoded), ()):
            handler(context, decoded)

    def _interaction(
        self, context: Context, interaction: InteractionReceived, outcome: Outcome
    ) -> None:
        named = guild_of("interaction", interaction.data)
        if named is None:
            raise InvalidInput("an interaction without a guild")
        if named != context.guild:
            raise InvalidInput("foreign guild: the interaction names another guild than its log")
        if interaction.session is not None and interaction.sequence is not None:
            # its token makes an interaction single, so it counts whatever its session is
            position = sessions.advance(
                context.database,
                context.guild,
                interaction.session,
                sequence=interaction.sequence,
                part=1,
                previous=interaction.previous,
                opens=False,
                at=context.sequence,
            )
            _note_break(context, position, interaction.previous, outcome)
        self._hand(context, interaction)

    def _command(self, context: Context, command: CommandReceived, outcome: Outcome) -> None:
        known = find_reply(context.database, context.guild, command.request_id)
        if known is not None:
            outcome.ignore("the request was answered before")
            outcome.reply = known
            return
        handler = self._registry.commands.get(command.verb, _refuse)
        context.execute("SAVEPOINT command")
        kept = len(context.effects), len(context.facts), len(context.timers)
        try:
            reply = CommandReply(request_id=command.request_id, body=handler(context, command))
        except ServiceError as error:
            context.execute("ROLLBACK TO command")
            del context.effects[kept[0] :], context.facts[kept[1] :], context.timers[kept[2] :]
            reply = CommandReply(request_id=command.request_id, error=error)
        context.execute("RELEASE command")
        keep_reply(context.database, context.guild, reply)
        outcome.reply = reply

    def _timer(self, context: Context, fired: TimerFired, outcome: Outcome) -> None:
        pending = context.execute(
            "DELETE FROM timers WHERE guild_id = ? AND timer = ? AND armed_by = ? RETURNING 1",
            (context.guild, fired.timer, fired.armed_by),
        ).fetchall()
        if not pending:
            outcome.ignore("the timer is no longer armed by that input")
            return
        handler = self._registry.timers.get(fired.timer)
        if handler is not None:
            handler(context)

    def _result(self, context: Context, result: EffectResult, outcome: Outcome) -> None:
        key = (context.guild, result.sequence, result.index)
        row = context.execute(
            "SELECT kind, payload, policy, note, state FROM outbox"
            " WHERE guild_id = ? AND sequence = ? AND idx = ?",
            key,
        ).fetchone()
        if row is None or (row[4] == "parked" and result.outcome == "parked"):
            outcome.ignore("the effect has its result")
            return
        kind, payload, policy, note, _ = row
        effect = SettledEffect(
            sequence=result.sequence,
            index=result.index,
            kind=kind,
            payload=payload_of(kind, payload),
            note=msgspec.json.decode(note),
            result=result,
        )
        if result.outcome == "parked" and kind != "interaction.answer":
            context.execute(
                "UPDATE outbox SET state = 'parked', error = ?"
                " WHERE guild_id = ? AND sequence = ? AND idx = ?",
                (effect.words, *key),
            )
        else:  # an answer goes in any case: its token must not stay
            context.execute(
                "DELETE FROM outbox WHERE guild_id = ? AND sequence = ? AND idx = ?", key
            )
        outcome.settled = (result.sequence, result.index)
        owner = self._registry.by_name.get(policy)
        if owner is not None and owner.on_result is not None:
            owner.on_result(context, effect)


def _decode(context: Context, dispatch: DiscordDispatch) -> Any:
    """The dispatch as its type, None for an event that is not used; it names no other guild."""
    event = decode_event(dispatch.event, dispatch.data)
    named = (
        guild_of(dispatch.event, dispatch.data)
        if event is None
        else getattr(event, "guild_id", None) or event.id
    )
    if named is not None and named != context.guild:
        raise InvalidInput("foreign guild: the dispatch names another guild than its log")
    return event


def _refuse(_context: Context, command: CommandReceived) -> bytes:
    raise ServiceError(ErrorCode.UNKNOWN_VERB, f"no request {command.verb[:64]!r} that writes")


def _with_part(event: msgspec.Struct, dispatch: DiscordDispatch) -> msgspec.Struct:
    """A snapshot in parts replaces what is known only with its first part."""
    if dispatch.event == "GUILD_CREATE" and dispatch.part > 1:
        return msgspec.structs.replace(event, first_part=False)
    return event


def _advance(
    context: Context, dispatch: DiscordDispatch, outcome: Outcome, *, opens: bool
) -> sessions.SessionPosition:
    position = sessions.advance(
        context.database,
        context.guild,
        dispatch.session,
        sequence=dispatch.sequence,
        part=dispatch.part,
        previous=dispatch.previous,
        opens=opens,
        at=context.sequence,
    )
    _note_break(context, position, dispatch.previous, outcome)
    return position


def _note_break(
    context: Context,
    position: sessions.SessionPosition,
    previous: int | None,
    outcome: Outcome,
) -> None:
    if position.broken:
        context.execute(
            "UPDATE guilds SET chain_breaks = chain_breaks + 1 WHERE guild_id = ?",
            (context.guild,),
        )
        outcome.alarm = (
            f"guild {context.guild}: broken chain at input {context.sequence}: its session sent"
            f" {previous} before, {position.expected} was seen"
        )


def _move_mark(context: Context, published: FactsPublished, outcome: Outcome) -> None:
    if published.sequence >= context.sequence:
        raise InvalidInput("facts of inputs that are not applied cannot be published")
    mark = (published.sequence, published.index)
    context.execute(
        "UPDATE guilds SET facts_sequence = ?2, facts_index = ?3"
        " WHERE guild_id = ?1 AND (facts_sequence, facts_index) < (?2, ?3)",
        (context.guild, *mark),
    )
    context.execute(
        "DELETE FROM facts WHERE guild_id = ? AND (sequence, idx) <= (?, ?)",
        (context.guild, *mark),
    )
    outcome.facts_published = mark


def _open(context: Context, opened: OwnerOpened, outcome: Outcome) -> None:
    if opened.engine_version > ENGINE_VERSION:
        raise UnsupportedVersion(context.guild, opened.engine_version)
    if opened.engine_version < 1:
        raise InvalidInput("an owner opened with an unknown engine version")
    context.execute(
        "UPDATE guilds SET epoch = ?2, engine_version = ?3 WHERE guild_id = ?1 AND epoch < ?2",
        (context.guild, opened.epoch, opened.engine_version),
    )
    outcome.opened_epoch = opened.epoch


def _note_skip(context: Context, skip: SkipInput, outcome: Outcome) -> None:
    skipped = context.execute(
        "SELECT 1 FROM quarantine WHERE guild_id = ? AND sequence = ?",
        (context.guild, skip.sequence),
    ).fetchone()
    if skipped is None:
        outcome.alarm = (
            f"guild {context.guild}: the log says to skip input {skip.sequence}, which was applied"
        )
