"""What becomes of a read that meets a row which is not what it must be.

It fails the request that needs the row, and nothing else: ending the pod would take the request,
which is asked again, to the next owner. Errors of the disk and of memory pass; the pod stops.
"""

import logging
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId
from contracts.message import MalformedMessage

log = logging.getLogger(__name__)

T = TypeVar("T")

NOT_TEXT: Final = "Could not decode to UTF-8"
"""How sqlite3 begins to say that a text is none; it has no error code of its own for it."""


def readable(guild: GuildId, read: Callable[[], T]) -> T:
    """What ``read`` returns. Raises `ServiceError` (`ErrorCode.UNREADABLE`) for a damaged row."""
    try:
        return read()
    except (msgspec.MsgspecError, MalformedMessage, TypeError, ValueError, LookupError) as error:
        why: Exception = error
    except sqlite3.OperationalError as error:
        if not str(error).startswith(NOT_TEXT):
            raise
        why = error
    log.error(
        "a row of guild %s cannot be read: %s: %s",
        guild,
        type(why).__name__,
        why,
        extra={"fields": {"alarm": "unreadable row", "guild": guild}},
    )
    raise ServiceError(
        ErrorCode.UNREADABLE,
        f"a row of guild {guild} that this needs cannot be read ({type(why).__name__}); the rest "
        "of the guild is served. Tell an operator: modbot ops move gives the guild to its "
        "follower, which has rows of its own",
    ) from why
