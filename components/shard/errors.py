"""Errors of the shard.

CannotStart                 a person has to act; the process ends for good (components.process)
└── NumberRefused           Discord takes no session of this number of shards
ShardError
├── QueueFull               too much waits for the bus: close the socket, let the queue drain
├── TakenOver               another replica has the shard id: give it up
├── IdentifyRefused         Discord grants no IDENTIFY for now
└── DiscordUnavailable      Discord's REST API does not answer as it should: try again later
"""

from typing import Final

from components.process.exits import CannotStart

PORTAL: Final = "https://discord.com/developers/applications"

FATAL_CLOSE_CODES: Final = {
    4004: "Discord refused the bot's token (close code 4004). It is wrong or was reset: copy the "
    f"token from the application's page at {PORTAL} (Bot, Reset Token) into the settings.",
    4010: "Discord refused the shard id (close code 4010): the shard id does not fit the shard "
    "count. Set MODBOT_SHARD_COUNT alike for every replica, or leave it unset.",
    4011: "Discord asks for more shards (close code 4011): the bot is in too many servers for this "
    "shard count. Raise MODBOT_SHARD_COUNT, or leave it unset to follow Discord's advice.",
    4012: "Discord refused the gateway's version (close code 4012): this version of modbot is too "
    "old for Discord. Update modbot.",
    4013: "Discord refused the intents as invalid (close code 4013): this version of modbot does "
    "not fit Discord's gateway. Update modbot.",
    4014: "Discord refused a privileged intent (close code 4014). Turn on SERVER MEMBERS INTENT "
    f"and MESSAGE CONTENT INTENT on the application's page at {PORTAL} (Bot, Privileged Gateway "
    "Intents), then start modbot again.",
}
"""What a person has to do (docs: topics/opcodes-and-status-codes#gateway-close-event-codes).
Connecting again would be refused again, and an IDENTIFY loop resets the token."""

NUMBER_CLOSE_CODES: Final = frozenset({4010, 4011})
"""About the number of shards alone: sessions of another number may serve all the same."""

NEW_SESSION_CLOSE_CODES: Final = frozenset({4007, 4009})
"""The session is over: the next connection identifies (same page of the documentation)."""


class NumberRefused(CannotStart):
    """Discord closed with 4010 or 4011. While the number of shards changes, a session of the new
    one waits for the change to be taken back; otherwise as every `CannotStart`."""

    def __init__(self, code: int) -> None:
        super().__init__(FATAL_CLOSE_CODES[code])
        self.code = code


class ShardError(Exception):
    """Base of the shard's own errors."""


class QueueFull(ShardError):
    """The bus takes less than Discord sends. Raised on receipt, before anything is queued; the
    caller closes the socket with 4000, waits for room and RESUMEs: Discord repeats what was not
    confirmed."""

    def __init__(self, dispatches: int, size: int) -> None:
        super().__init__(f"{dispatches} dispatches ({size} bytes) wait for the bus")
        self.dispatches = dispatches
        self.size = size


class TakenOver(ShardError):
    """Another replica holds the shard id, or has held it meanwhile. Close the socket (4000) and
    forget what is queued: whoever has the shard id gets it again by a RESUME."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"shard {shard} was taken over by another replica")
        self.shard = shard


class NotWanted(ShardError):
    """The installation has another number of shards, since just now. Give the shard id up."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"shard {shard} belongs to a number of shards that is not wanted any more")
        self.shard = shard


class IdentifyRefused(ShardError):
    """The day's IDENTIFYs are used up. Wait: identifying anyway resets the bot's token."""

    def __init__(self, reset_after_s: float) -> None:
        super().__init__(
            "Discord's daily limit of new sessions is used up; not identifying for another "
            f"{reset_after_s:.0f} s. Something makes this bot identify again and again: look for "
            "another process that uses the same token."
        )
        self.reset_after_s = reset_after_s


class DiscordUnavailable(ShardError):
    """A REST request failed in a way that may pass. Try again later, with a growing pause.
    ``status``: the HTTP status, 0 if there was none."""

    def __init__(self, words: str, *, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


def raise_if_fatal(code: int | None) -> None:
    """Raise `CannotStart` when the close code means that no connection can succeed."""
    if code in NUMBER_CLOSE_CODES:
        raise NumberRefused(code)
    if code in FATAL_CLOSE_CODES:
        raise CannotStart(FATAL_CLOSE_CODES[code])


def token_refused() -> CannotStart:
    """The same words when REST, not the gateway, refuses the token."""
    words = FATAL_CLOSE_CODES[4004].replace("close code 4004", "HTTP 401")
    return CannotStart(words)
