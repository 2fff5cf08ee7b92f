"""Facts: what integrators and the live feed see on ``modbot.events.<guild>.<type>``.

Past tense, without message text, in order per guild, each exactly once. On the wire a fact is a
CloudEvent 1.0 in the NATS binding's binary mode: attributes in ``ce-*`` headers (`headers_of`),
the fact itself as JSON data.
"""

from datetime import UTC, datetime
from typing import ClassVar, Literal, TypeAlias

from contracts import headers
from contracts.ids import CaseNumber, ChannelId, Epoch, GuildId, MessageId, Sequence, UserId
from contracts.message import Message

SpamTier: TypeAlias = Literal["low", "medium", "high", "honeypot"]
CaseAction: TypeAlias = Literal[
    "flag",
    "delete_message",
    "restrict",
    "timeout",
    "remove_timeout",
    "kick",
    "ban",
    "softban",
    "unban",
]
"""``flag`` is a report without an action; ``softban`` a ban that is lifted at once."""
CaseStatus: TypeAlias = Literal["pending", "done", "failed"]
ModeratorKind: TypeAlias = Literal["bot", "moderator", "unknown"]


class SignalScore(Message, frozen=True, kw_only=True):
    """One signal of the spam pipeline and what it added to the score."""

    name: str
    points: int


class Fact(Message, frozen=True, kw_only=True):
    """Base of the facts; ``type`` is the subject's tail and, versioned, the ``ce-type``."""

    type: ClassVar[str]
    version: ClassVar[int] = 1


class MessageFlagged(Fact, frozen=True, kw_only=True):
    """The spam pipeline gave a message a verdict."""

    type: ClassVar[str] = "message.flagged"
    user: UserId
    channel: ChannelId
    message: MessageId
    tier: SpamTier
    score: int
    signals: list[SignalScore]
    edited: bool = False
    """The verdict is on an edit."""


class ReportFiled(Fact, frozen=True, kw_only=True):
    """A message was reported to its author's thread."""

    type: ClassVar[str] = "report.filed"
    user: UserId
    channel: ChannelId
    message: MessageId
    reason: Literal["spam"]


class CaseOpened(Fact, frozen=True, kw_only=True):
    """A moderation action was taken or noticed and has a number in the guild."""

    type: ClassVar[str] = "case.opened"
    number: CaseNumber
    user: UserId
    action: CaseAction
    status: CaseStatus
    moderator_kind: ModeratorKind
    moderator: UserId | None = None
    """Who acted, when it is known; None for the bot itself."""
    reason: str = ""
    source_guild: GuildId | None = None
    """The guild whose signal led to it."""


class CaseUpdated(Fact, frozen=True, kw_only=True):
    """The action of a case happened, or failed for the stated reason."""

    type: ClassVar[str] = "case.updated"
    number: CaseNumber
    user: UserId
    action: CaseAction
    status: CaseStatus
    error: str = ""


class SettingsChanged(Fact, frozen=True, kw_only=True):
    """The guild's settings have a new version."""

    type: ClassVar[str] = "settings.changed"
    settings_version: int
    by_kind: Literal["operator", "user", "integrator"]
    by: str
    changed: list[str]
    """Paths of the changed fields, e.g. ``spam.timeout_s``."""


class GuildRestored(Fact, frozen=True, kw_only=True):
    """Parts of an earlier state were put back, or that was undone."""

    type: ClassVar[str] = "guild.restored"
    restore: str
    at_ms: int
    """The moment whose state was put back."""
    parts: list[Literal["settings", "cases", "reports"]]
    rows: int
    by_kind: Literal["operator", "user", "integrator"]
    by: str
    undone: bool = False
    left: int = 0
    """Rows that the undo left as they are, since they have changed since the restore."""


class InputQuarantined(Fact, frozen=True, kw_only=True):
    """An input could not be applied and was set aside; the guild goes on."""

    type: ClassVar[str] = "input.quarantined"
    input_sequence: Sequence
    kind: str
    reason: str


AnyFact: TypeAlias = (
    MessageFlagged
    | ReportFiled
    | CaseOpened
    | CaseUpdated
    | SettingsChanged
    | GuildRestored
    | InputQuarantined
)
FACTS: tuple[type[Fact], ...] = (
    MessageFlagged,
    ReportFiled,
    CaseOpened,
    CaseUpdated,
    SettingsChanged,
    GuildRestored,
    InputQuarantined,
)
FACT_OF_TYPE: dict[str, type[Fact]] = {fact.type: fact for fact in FACTS}


def cloud_event_type(fact: type[Fact]) -> str:
    """The ``ce-type``, e.g. ``modbot.case.opened.v1``."""
    return f"modbot.{fact.type}.v{fact.version}"


def fact_id(guild: GuildId, sequence: Sequence, index: int) -> str:
    """The ``ce-id``: the same fact always has the same id."""
    return f"{guild}-{sequence}-{index}"


def headers_of(
    fact_type: type[Fact],
    *,
    guild: GuildId,
    sequence: Sequence,
    index: int,
    epoch: Epoch,
    time_ms: int,
    subject: str = "",
) -> dict[str, str]:
    """The CloudEvents attributes and the fact's place in the guild's log.

    ``time_ms`` is the input's time (milliseconds since 1970), so the same fact has the same time
    whoever publishes it; ``subject`` is the person the fact is about.
    """
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    fields = {
        headers.CE_SPECVERSION: "1.0",
        headers.CE_ID: fact_id(guild, sequence, index),
        headers.CE_SOURCE: f"/modbot/guilds/{guild}",
        headers.CE_TYPE: cloud_event_type(fact_type),
        headers.CE_TIME: moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        headers.CE_DATACONTENTTYPE: "application/json",
        headers.INPUT_SEQUENCE: str(sequence),
        headers.INPUT_INDEX: str(index),
        headers.EPOCH: str(epoch),
    }
    if subject:
        fields[headers.CE_SUBJECT] = subject
    return fields
