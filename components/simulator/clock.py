"""Time and ids. A clock never goes back; ids are unique, and carry their creation time.

docs: reference#snowflakes
"""

import itertools
import time
from datetime import UTC, datetime
from typing import NewType

Snowflake = NewType("Snowflake", int)

DISCORD_EPOCH_MS = 1_420_070_400_000
# Where guild ids start. Fixed, so that a restarted simulator that creates its guilds in the same
# order gives them the same ids: what a bot stored about them still fits.
GUILD_EPOCH_MS = 1_577_836_800_000  # 2020-01-01


class Clock:
    """Wall time that advances with the steady clock, so that moments can be subtracted."""

    def __init__(self) -> None:
        self._base_ms = time.time() * 1000 - time.monotonic() * 1000

    def now_ms(self) -> float:
        """Milliseconds since 1970, never decreasing."""
        return self._base_ms + time.monotonic() * 1000

    def monotonic(self) -> float:
        """Steady seconds, for windows and deadlines."""
        return time.monotonic()


class Snowflakes:
    """Makes ids. Ordered by time; 4,096 a millisecond, after which the next millisecond is used."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self._last_ms = 0
        self._increment = 0
        self._dated = itertools.count()
        self._guilds = itertools.count(seed * 1_000_000)

    def next(self) -> Snowflake:
        """An id created now."""
        now = int(self._clock.now_ms())
        if now > self._last_ms:
            self._last_ms, self._increment = now, 0
        else:
            self._increment += 1
            if self._increment > 0xFFF:
                self._last_ms, self._increment = self._last_ms + 1, 0
        return Snowflake((self._last_ms - DISCORD_EPOCH_MS) << 22 | self._increment)

    def at(self, moment_ms: float) -> Snowflake:
        """An id of something created at `moment_ms`, in the past."""
        n = next(self._dated)
        return Snowflake((int(moment_ms) - DISCORD_EPOCH_MS) << 22 | 1 << 17 | n & 0x1FFFF)

    def guild(self) -> Snowflake:
        """The next guild id: one a millisecond, so that guilds spread over shards evenly."""
        return Snowflake((GUILD_EPOCH_MS + next(self._guilds) - DISCORD_EPOCH_MS) << 22)


def created_ms(snowflake: int) -> int:
    """The creation time an id carries, in milliseconds since 1970."""
    return (snowflake >> 22) + DISCORD_EPOCH_MS


def iso(ms: float) -> str:
    """Discord's timestamp format, ISO 8601 with offset."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="microseconds")


def parse_iso(text: str) -> float:
    """Milliseconds since 1970 of an ISO 8601 timestamp. Raises ValueError when it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() * 1000
