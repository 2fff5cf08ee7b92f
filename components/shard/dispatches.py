"""What a dispatch of Discord becomes on the bus: inputs for one guild's log. Pure but for ids.

Every dispatch that names a guild is appended as it came; a GUILD_CREATE is trimmed and may come
in parts. What names no guild is not appended: `Translated.appends` is empty. An input above the
bus's limit is replaced by one that says so, so that the guild's chain stays whole.
"""

import logging
from collections.abc import Callable

import msgspec

from components.shard.guild_create import Identity, parts_of
from contracts.ids import GuildId, InteractionId, SessionId, is_snowflake
from contracts.inputs import DiscordDispatch, InteractionReceived, dispatch_id, interaction_id
from contracts.interactions import guild_of_interaction, read_interaction
from contracts.message import MalformedMessage, encode

log = logging.getLogger(__name__)

MAX_INPUT_BYTES = 900 * 1024
"""The server takes 1 MiB with headers (contracts.accounts, contracts.storage)."""
INTERACTION = "INTERACTION_CREATE"


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """One message for a guild's log. ``smaller`` stands in for it if the server finds it too
    large after all."""

    guild: GuildId
    message_id: str
    data: bytes
    smaller: bytes


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a dispatch."""

    guild: GuildId | None
    appends: list[Append] = []


class _Names(msgspec.Struct):
    guild_id: str | int | None = None
    id: str | int | None = None


_decode_names = msgspec.json.Decoder(_Names).decode


class Translator:
    """The dispatches of one session. Remembers per guild what was sent before."""

    def __init__(
        self,
        *,
        session: SessionId,
        shard: int,
        identity: Identity,
        answer_to: Callable[[InteractionId], str],
        part_bytes: int,
    ) -> None:
        self.session = session
        self._shard = shard
        self._identity = identity
        self._answer_to = answer_to
        self._part_bytes = part_bytes
        self._previous: dict[GuildId, int] = {}

    def translate(
        self,
        sequence: int,
        event: str,
        data: bytes,
        may_be_double: Callable[[GuildId], bool] = lambda _: False,
    ) -> Translated:
        """The inputs that the dispatch becomes, in order."""
        guild = guild_of(event, data)
        if guild is None:
            return Translated(guild=None)
        overlap = may_be_double(guild)
        previous = self._previous.get(guild)
        self._previous[guild] = sequence
        if event == INTERACTION:
            return Translated(
                guild=guild, appends=[self._interaction(guild, sequence, previous, data)]
            )
        pieces = self._pieces(event, data)
        appends = [
            self._dispatch(guild, sequence, previous, event, piece, part, len(pieces), overlap)
            for part, piece in enumerate(pieces, start=1)
        ]
        return Translated(guild=guild, appends=appends)

    def _pieces(self, event: str, data: bytes) -> list[bytes]:
        if event != "GUILD_CREATE":
            return [data]
        try:
            return parts_of(data, self._identity, self._part_bytes)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("GUILD_CREATE is not a guild and goes on as it is: %s", error)
            return [data]

    def _dispatch(
        self,
        guild: GuildId,
        sequence: int,
        previous: int | None,
        event: str,
        data: bytes,
        part: int,
        parts: int,
        overlap: bool,
    ) -> Append:
        message = DiscordDispatch(
            session=self.session,
            shard=self._shard,
            sequence=sequence,
            previous=previous if part == 1 else None,
            event=event,
            part=part,
            parts=parts,
            overlap=overlap,
            data=msgspec.Raw(data),
        )
        smaller = encode(msgspec.structs.replace(message, data=_dropped(len(data))))
        encoded = encode(message)
        if len(encoded) > MAX_INPUT_BYTES:
            log.error(
                "guild %s: dropped the content of a %s of %d bytes: too large for the bus",
                guild,
                event,
                len(data),
            )
            encoded = smaller
        return Append(
            guild=guild,
            message_id=dispatch_id(self.session, sequence, part),
            data=encoded,
            smaller=smaller,
        )

    def _interaction(
        self, guild: GuildId, sequence: int, previous: int | None, data: bytes
    ) -> Append:
        interaction = str(_decode_names(data).id)
        message = InteractionReceived(
            via="gateway",
            answer_to=self._answer_to(InteractionId(interaction)),
            session=self.session,
            sequence=sequence,
            previous=previous,
            data=msgspec.Raw(data),
        )
        encoded = encode(message)
        # Its token is in the data: an interaction without it could not be answered, so what
        # stands in for it only keeps the chain.
        smaller = encode(
            DiscordDispatch(
                session=self.session,
                shard=self._shard,
                sequence=sequence,
                previous=previous,
                event=INTERACTION,
                data=_dropped(len(data)),
            )
        )
        return Append(
            guild=guild,
            message_id=interaction_id(interaction),
            data=encoded if len(encoded) <= MAX_INPUT_BYTES else smaller,
            smaller=smaller,
        )


def guild_of(event: str, data: bytes) -> GuildId | None:
    """The guild whose log a dispatch belongs on; None when it names none."""
    try:
        names = _decode_names(data)
        if event == INTERACTION:
            if not is_snowflake(str(names.id)):
                return None
            return guild_of_interaction(read_interaction(data))
    except (
        MalformedMessage,
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
    ) as error:
        log.warning("skipped a malformed %s: %s", event, error)
        return None
    guild = names.guild_id
    if guild is None and event.startswith("GUILD_"):
        guild = names.id
    if guild is None:
        return None
    if not is_snowflake(str(guild)):
        log.error("skipped a %s whose guild id is not one", event)
        return None
    return GuildId(str(guild))


def _dropped(size: int) -> msgspec.Raw:
    reason = f"{size} bytes are more than the bus takes"
    return msgspec.Raw(msgspec.json.encode({"modbot_dropped": reason}))
