"""Requests on ``modbot.rpc.<guild>.<verb>`` and their replies.

A reply carries `headers.EPOCH` and `headers.APPLIED`. A request may carry `headers.MIN_APPLIED`;
a request that writes carries `headers.REQUEST_ID` and is stored once under it. Requests come
from outside, so a field nobody knows is refused; replies tolerate them.
"""

from typing import ClassVar

import msgspec

from contracts.facts import CaseAction, CaseStatus, ModeratorKind, SignalScore, SpamTier
from contracts.ids import (
    CaseNumber,
    ChannelId,
    Epoch,
    Generation,
    GuildId,
    Incarnation,
    MessageId,
    PodId,
    Sequence,
    UserId,
)
from contracts.inputs import Actor
from contracts.message import Message
from contracts.settings import GuildSettings


class Request(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Base of the requests; ``verb`` is the subject's tail.

    Defaults are not sent: an owner that does not know a newer field yet must not refuse it.
    """

    verb: ClassVar[str]
    writes: ClassVar[bool] = False


class GetCase(Request, frozen=True, kw_only=True):
    """One case by its number. Reply: `CaseView`; 404 when there is none."""

    verb: ClassVar[str] = "case.get"
    number: CaseNumber


class ListCases(Request, frozen=True, kw_only=True):
    """Cases, newest first. Reply: `CaseList`."""

    verb: ClassVar[str] = "case.list"
    user: UserId | None = None
    before: CaseNumber | None = None
    limit: int = 50
    """From 1 to 200."""


class GetSettings(Request, frozen=True, kw_only=True):
    """The settings in force. Reply: `SettingsView`."""

    verb: ClassVar[str] = "settings.get"


class PutSettings(Request, frozen=True, kw_only=True):
    """Replace the settings. Reply: `SettingsView`; 409 when ``expected_version`` is not the
    version in force; 422 naming each invalid field."""

    verb: ClassVar[str] = "settings.put"
    writes: ClassVar[bool] = True
    actor: Actor
    settings: msgspec.Raw
    expected_version: int | None = None


class GetGuildStatus(Request, frozen=True, kw_only=True):
    """How the guild is doing. Reply: `GuildStatus`."""

    verb: ClassVar[str] = "status"


class ListQuarantine(Request, frozen=True, kw_only=True):
    """Inputs that were set aside, newest first, at most 100. Reply: `QuarantineList`."""

    verb: ClassVar[str] = "quarantine.list"


class SkipParkedInput(Request, frozen=True, kw_only=True):
    """Let a parked guild go on without the input that parked it. Reply: `GuildStatus`; 409 when
    the guild is not parked at that sequence."""

    verb: ClassVar[str] = "input.skip"
    writes: ClassVar[bool] = True
    actor: Actor
    sequence: Sequence
    reason: str


class TakeSnapshot(Request, frozen=True, kw_only=True):
    """Put the guild's rows into the object store for a pod that is to hold them. The owner goes
    on meanwhile. Reply: `SnapshotTaken`; 403 for a pod that the assignment does not name."""

    verb: ClassVar[str] = "snapshot.take"
    pod: PodId
    incarnation: Incarnation


REQUESTS: tuple[type[Request], ...] = (
    GetCase,
    ListCases,
    GetSettings,
    PutSettings,
    GetGuildStatus,
    ListQuarantine,
    SkipParkedInput,
    TakeSnapshot,
)
REQUEST_OF_VERB: dict[str, type[Request]] = {request.verb: request for request in REQUESTS}


class CaseView(Message, frozen=True, kw_only=True):
    """A case. Times are milliseconds since 1970."""

    guild: GuildId
    number: CaseNumber
    user: UserId
    username: str = ""
    action: CaseAction
    status: CaseStatus
    moderator_kind: ModeratorKind
    moderator: UserId | None = None
    reason: str = ""
    error: str = ""
    opened_ms: int
    until_ms: int | None = None
    """When a timeout ends."""
    channel: ChannelId | None = None
    message: MessageId | None = None
    tier: SpamTier | None = None
    score: int | None = None
    signals: list[SignalScore] = []
    source_guild: GuildId | None = None
    thread: ChannelId | None = None
    """The member's report thread, once it exists."""


class CaseList(Message, frozen=True, kw_only=True):
    """Cases, newest first; ``next_before`` continues the list."""

    cases: list[CaseView]
    next_before: CaseNumber | None = None


class SettingsView(Message, frozen=True, kw_only=True):
    """The settings in force; version 0 is the defaults."""

    version: int
    settings: GuildSettings
    changed_ms: int | None = None
    changed_by: Actor | None = None


class GuildStatus(Message, frozen=True, kw_only=True):
    """A guild as its owner sees it."""

    guild: GuildId
    name: str = ""
    pod: PodId
    epoch: Epoch
    applied: Sequence
    engine_version: int
    cases: int
    outbox_pending: int
    outbox_parked: int
    facts_unpublished: int
    quarantined: int
    parked_at: Sequence | None = None
    parked_reason: str = ""
    chain_breaks: int = 0
    """Dispatches whose predecessor in their session was not the one seen."""


class QuarantinedInput(Message, frozen=True, kw_only=True):
    """An input that was set aside, without its content."""

    sequence: Sequence
    kind: str
    reason: str
    at_ms: int


class QuarantineList(Message, frozen=True, kw_only=True):
    """Inputs that were set aside, newest first."""

    inputs: list[QuarantinedInput]


class SnapshotTaken(Message, frozen=True, kw_only=True):
    """A guild's rows as one SQLite file in the object store ``snapshots``."""

    guild: GuildId
    object: str
    """Its name there; whoever fetched it deletes it."""
    sequence: Sequence
    generation: Generation
    schema_version: int
    engine_version: int
    size: int
    """Bytes."""
    sha256: str
