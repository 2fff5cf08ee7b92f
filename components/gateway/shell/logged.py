"""From a message of a guild's log to what the engine takes."""

from components.bus.stream import StoredMessage
from components.gateway.engine.model import LoggedInput
from contracts import headers
from contracts.ids import GuildId


def logged_input(guild: GuildId, stored: StoredMessage) -> LoggedInput:
    """A stored message as the engine takes it."""
    return LoggedInput(
        guild=guild,
        sequence=stored.sequence,
        stored_ms=stored.stored_ms,
        message_id=stored.headers.get(headers.MSG_ID, ""),
        traceparent=stored.headers.get(headers.TRACEPARENT, ""),
        data=stored.data,
    )
