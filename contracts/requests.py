"""Requests on ``modbot.rpc.<guild>.<verb>`` and their replies.

A reply carries `headers.EPOCH` and `headers.APPLIED`. A request may carry `headers.MIN_APPLIED`;
a request that writes carries `headers.REQUEST_ID` and is stored once under it. Requests come
from outside, so a field nobody knows is refused; replies tolerate them.
"""

from typing import ClassVar, Literal, TypeAlias

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


class GetDigest(Request, frozen=True, kw_only=True):
    """A digest of all rows of the guild as they are now, to compare another copy with. Reads
    every row of the guild. Reply: `GuildDigest`."""

    verb: ClassVar[str] = "digest"


RestorePart: TypeAlias = Literal["settings", "cases", "reports"]
"""What can be put back. ``reports``: reports of members and their threads."""


class RestoredRow(Message, frozen=True, kw_only=True):
    """A row as it was, without its guild."""

    table: str
    values: dict[str, str | int | None]
    """By column; what is not named has the column's default. A blob, which holds JSON, is text
    here."""


class BeginRestore(Request, frozen=True, kw_only=True):
    """Announce parts of an earlier state that are to be put back. They are staged until
    `CloseRestore`; another begin forgets what was staged before. Reply: `RestoreView`; 409 for a
    name that was used before."""

    verb: ClassVar[str] = "restore.begin"
    writes: ClassVar[bool] = True
    actor: Actor
    restore: str
    """Name of the restore, new for each."""
    at_ms: int
    """The moment whose state is put back."""
    parts: list[RestorePart]
    pieces: int
    """How many `PutRestorePiece` follow, numbered from 1."""


class PutRestorePiece(Request, frozen=True, kw_only=True):
    """Stage rows; sending a piece again is harmless. Reply: `RestoreView`; 422 for rows that do not
    fit, and once there are more than one restore may put back."""

    verb: ClassVar[str] = "restore.piece"
    writes: ClassVar[bool] = True
    actor: Actor
    restore: str
    number: int
    rows: list[RestoredRow]


class CloseRestore(Request, frozen=True, kw_only=True):
    """Put everything staged into force at once. Rows that are there replace today's rows of the
    same key; what came into being since stays. No effect is sent again. Reply: `RestoreView`; 409
    while pieces are missing."""

    verb: ClassVar[str] = "restore.close"
    writes: ClassVar[bool] = True
    actor: Actor
    restore: str


class UndoRestore(Request, frozen=True, kw_only=True):
    """Put back what the last restore replaced, and remove what it brought; what has changed since
    the restore stays as it is and is counted. Reply: `RestoreView`; 409 unless it is the guild's
    last one and in force."""

    verb: ClassVar[str] = "restore.undo"
    writes: ClassVar[bool] = True
    actor: Actor
    restore: str


REQUESTS: tuple[type[Request], ...] = (
    GetCase,
    ListCases,
    GetSettings,
    PutSettings,
    GetGuildStatus,
    ListQuarantine,
    SkipParkedInput,
    TakeSnapshot,
    GetDigest,
    BeginRestore,
    PutRestorePiece,
    CloseRestore,
    UndoRestore,
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


class GuildDigest(Message, frozen=True, kw_only=True):
    """All rows of a guild as one value: the SHA-256 of its canonical dump."""

    guild: GuildId
    generation: Generation
    sequence: Sequence
    """The last input that is applied in it."""
    sha256: str
    rows: dict[str, int]
    """Rows of each table that has some."""


class RestoreView(Message, frozen=True, kw_only=True):
    """How far a restore is."""

    restore: str
    state: Literal["staged", "in_force", "undone"]
    at_ms: int
    parts: list[RestorePart]
    pieces: int
    received: int
    """Pieces that are there."""
    rows: int
    """Rows that are staged, were put back, or were taken back by the undo."""
    left: int = 0
    """Rows that the undo left as they are, since they have changed since the restore; the settings
    are one."""
    by: Actor
