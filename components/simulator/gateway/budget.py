"""How often a bot may IDENTIFY: a budget a day, and one per concurrency key every 5 seconds.

docs: events/gateway#session-start-limit-object, events/gateway#rate-limiting
"""

from typing import Any

from components.simulator.clock import Clock, Snowflake
from components.simulator.settings import Settings

DAY_S = 24 * 3600.0
KEY_WINDOW_S = 5.0


class IdentifyBudget:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._used: dict[Snowflake, int] = {}
        self._since: dict[Snowflake, float] = {}
        self._last: dict[tuple[Snowflake, int], float] = {}

    def take(self, application_id: Snowflake) -> bool:
        """Use one of the day's; False when none was left, upon which Discord resets the token."""
        self._roll(application_id)
        used = self._used[application_id] = self._used.get(application_id, 0) + 1
        return used <= self._settings.identify_budget

    def take_key(self, application_id: Snowflake, shard_id: int) -> bool:
        """False when the shard's concurrency key was used within the last 5 seconds."""
        key = (application_id, shard_id % self._settings.max_concurrency)
        now = self._clock.monotonic()
        last = self._last.get(key)
        if last is not None and now - last < KEY_WINDOW_S:
            return False
        self._last[key] = now
        return True

    def forget(self, application_id: Snowflake) -> None:
        """A new token starts with a full budget."""
        self._used.pop(application_id, None)

    def limit(self, application_id: Snowflake) -> dict[str, Any]:
        """The session start limit of GET /gateway/bot."""
        self._roll(application_id)
        total = self._settings.identify_budget
        left = max(0, total - self._used.get(application_id, 0))
        since = self._since[application_id]
        return {
            "total": total,
            "remaining": left,
            "reset_after": int((since + DAY_S - self._clock.monotonic()) * 1000),
            "max_concurrency": self._settings.max_concurrency,
        }

    def _roll(self, application_id: Snowflake) -> None:
        now = self._clock.monotonic()
        since = self._since.setdefault(application_id, now)
        if now - since >= DAY_S:
            self._since[application_id] = now
            self._used.pop(application_id, None)
