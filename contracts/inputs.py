"""Inputs: the messages on a guild's log, ``modbot.in.<guild>``. The log is the truth.

Everything that changes a guild's state is one of these, applied in the log's order by the
guild's owner, exactly once in state. Each is stored once under its ``Nats-Msg-Id``
(`message_id`), so sending one again is harmless.
"""

from typing import Literal, TypeAlias

import msgspec

from contracts.ids import Epoch, GuildId, Incarnation, PodId, RequestId, Sequence, SessionId, UserId
from contracts.message import Message


class Actor(Message, frozen=True, kw_only=True):
    """Who asks. The owner checks again whether the actor may do what is asked."""

    kind: Literal["operator", "user", "integrator"]
    id: str
    """Discord user id of a ``user``; a name for the others."""


class Input(Message, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the input union; the tag is the field ``kind``."""


class DiscordDispatch(Input, frozen=True, kw_only=True, tag="dispatch"):
    """A raw dispatch of the Discord gateway, as the shard received it (GUILD_CREATE trimmed)."""

    session: SessionId
    shard: int
    sequence: int
    """The dispatch's ``s`` in its session."""
    previous: int | None = None
    """The ``s`` that this session sent to this guild before; None when the sender cannot know
    (its first after a restart). A mismatch raises an alarm."""
    event: str
    """The dispatch's ``t``, e.g. MESSAGE_CREATE."""
    part: int = 1
    parts: int = 1
    """A GUILD_CREATE above the payload limit comes in parts 1..parts of the same sequence."""
    catch_up: bool = False
    """Read afterwards over REST because a session could not be resumed. ``session`` is the new
    one and ``sequence`` that of its GUILD_CREATE (0 if the reader came later); the input is no
    link of the session's chain and has no ``previous``. What it tells may be on the log already:
    its Discord id says so."""
    overlap: bool = False
    """Received while another session, of another number of shards, was still being read: that one
    may have delivered it too. A link of its session's chain; what it tells may be on the log
    already, as with ``catch_up``."""
    data: msgspec.Raw


class InteractionReceived(Input, frozen=True, kw_only=True, tag="interaction"):
    """An interaction, made durable by its first responder (shard or edge)."""

    via: Literal["gateway", "http"]
    answer_to: str
    """Subject on which the first responder waits for the owner's `InteractionAnswer`."""
    session: SessionId | None = None
    sequence: int | None = None
    previous: int | None = None
    """As in `DiscordDispatch`, when the interaction came over the gateway."""
    data: msgspec.Raw
    """Discord's interaction object. Holds the interaction's token: never logged."""


class CommandReceived(Input, frozen=True, kw_only=True, tag="command"):
    """A request that writes, appended by the owner before it is acknowledged."""

    request_id: RequestId
    verb: str
    actor: Actor
    arguments: msgspec.Raw


class TimerFired(Input, frozen=True, kw_only=True, tag="timer_fired"):
    """A timer came due. Ignored unless the arming by ``armed_by`` is still pending."""

    timer: str
    armed_by: Sequence
    """The input that armed the timer."""


class EffectError(Message, frozen=True, kw_only=True):
    """Why an effect did not happen."""

    status: int = 0
    """HTTP status, 0 if there was none."""
    code: int = 0
    """Discord's error code, 0 if there was none."""
    message: str = ""


class EffectResult(Input, frozen=True, kw_only=True, tag="effect_result"):
    """What became of an effect. The first result of an effect wins."""

    sequence: Sequence
    index: int
    """The effect: the input that asked for it, and its place among that input's effects."""
    outcome: Literal["done", "failed", "expired", "parked"]
    data: dict[str, str] = {}
    """What the effect made, e.g. ``{"message_id": "…"}``."""
    error: EffectError | None = None


class FactsPublished(Input, frozen=True, kw_only=True, tag="facts_published"):
    """All facts up to (sequence, index) are in EVENTS. Survives the facts' own expiry."""

    sequence: Sequence
    index: int


class OwnerOpened(Input, frozen=True, kw_only=True, tag="owner_opened"):
    """A pod opened the guild. Its acknowledgement is the barrier up to which the pod applies;
    an owner that meets a higher epoch than its own closes at once."""

    epoch: Epoch
    pod: PodId
    incarnation: Incarnation
    engine_version: int


class SkipInput(Input, frozen=True, kw_only=True, tag="skip"):
    """An operator's word that a parked guild goes on without the input at ``sequence``."""

    sequence: Sequence
    reason: str
    actor: Actor


class GuildSignal(Input, frozen=True, kw_only=True, tag="signal"):
    """Another guild's signal: a member spammed in several guilds that share signals."""

    source: GuildId
    source_name: str
    source_sequence: Sequence
    user: UserId
    username: str
    guilds: int
    """Distinct sharing guilds in which the user's spam was reported."""


AnyInput: TypeAlias = (
    DiscordDispatch
    | InteractionReceived
    | CommandReceived
    | TimerFired
    | EffectResult
    | FactsPublished
    | OwnerOpened
    | SkipInput
    | GuildSignal
)


def dispatch_id(session: SessionId, sequence: int, part: int = 1) -> str:
    """A RESUME repeats session and sequence unchanged, so a repeated dispatch is stored once."""
    return f"dsp:{session}:{sequence}" if part == 1 else f"dsp:{session}:{sequence}:{part}"


def catch_up_id(kind: Literal["msg", "audit"], snowflake: str) -> str:
    """A message or audit-log entry that was read afterwards is stored once, whoever read it."""
    return f"cat:{kind}:{snowflake}"


def interaction_id(interaction: str) -> str:
    """An interaction is stored once, over whichever way it came."""
    return f"int:{interaction}"


def command_id(guild: GuildId, request_id: RequestId) -> str:
    """A write that is sent again under its request id is stored once."""
    return f"cmd:{guild}:{request_id}"


def timer_id(guild: GuildId, timer: str, armed_by: Sequence) -> str:
    """One firing for each arming."""
    return f"tmr:{guild}:{timer}:{armed_by}"


def effect_result_id(guild: GuildId, sequence: Sequence, index: int) -> str:
    """No epoch in it: of two owners' results the first one wins."""
    return f"eff:{guild}:{sequence}:{index}"


def facts_published_id(guild: GuildId, sequence: Sequence, index: int) -> str:
    """One mark for each position."""
    return f"fct:{guild}:{sequence}:{index}"


def owner_opened_id(guild: GuildId, epoch: Epoch, incarnation: Incarnation, attempt: str) -> str:
    """``attempt`` is unique to each opening: an acknowledgement must be a new barrier, so an
    opening is never deduplicated against an earlier one."""
    return f"own:{guild}:{epoch}:{incarnation}:{attempt}"


def skip_id(guild: GuildId, sequence: Sequence) -> str:
    """One skip for each input."""
    return f"skp:{guild}:{sequence}"


def signal_id(guild: GuildId, source: GuildId, source_sequence: Sequence, user: UserId) -> str:
    """One signal into ``guild`` for each raising of it."""
    return f"sig:{guild}:{source}:{source_sequence}:{user}"
