"""Rate limits: buckets by route and major parameter, 50/s per token, and invalid requests.

docs: topics/rate-limits
"""

import hashlib
from collections import deque

import msgspec

from components.simulator.clock import Clock
from components.simulator.settings import Settings

# Undocumented, observed by libraries: (requests, seconds). Clients must read the headers.
_OBSERVED: dict[str, tuple[int, float]] = {
    "messages.create": (5, 5.0),
    "messages.edit": (5, 5.0),
    "messages.delete": (5, 1.0),
    "messages.bulk_delete": (1, 1.0),
    "reactions": (1, 0.25),
    "threads.create": (5, 5.0),
    "channel.modify": (5, 15.0),
    "members.modify": (10, 10.0),
    "members.role": (10, 10.0),
    "members.kick": (5, 1.0),
    "bans.change": (5, 1.0),
    "bans.bulk": (1, 5.0),
    "dm.create": (10, 10.0),
    "commands.put": (5, 20.0),
    "webhook": (5, 2.0),
}
_DEFAULT = (20, 1.0)
# A message delete of one older than this has a bucket of its own (undocumented, observed).
OLD_MESSAGE_S = 14 * 24 * 3600
_OLD_DELETE = (30, 120.0)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits say of one request: the headers, and when refused, for how long and why."""

    headers: dict[str, str]
    retry_after_s: float | None = None
    scope: str = "user"


class _Window(msgspec.Struct):
    used: int
    ends: float


class RateLimits:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.enabled = settings.limits
        self.numbers = dict(_OBSERVED)
        self._settings = settings
        self._clock = clock
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._global: dict[str, deque[float]] = {}
        self._invalid: dict[str, deque[float]] = {}
        self._banned: dict[str, float] = {}
        self.refused_globally = 0
        """Requests that the global limit refused, of all tokens, since the start."""

    def take(self, token: str, bucket: str, major: str, *, exempt: bool) -> Verdict:
        """Count one request. `exempt` (interaction endpoints) does not count globally."""
        now = self._clock.monotonic()
        if not exempt:
            wait = self._take_global(token, now)
            if wait is not None:
                self.refused_globally += 1
                headers = {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
                return Verdict(headers=headers, retry_after_s=wait, scope="global")
        default = _OLD_DELETE if bucket == "messages.delete.old" else _DEFAULT
        limit, seconds = self.numbers.get(bucket, default)
        key = (token, bucket, major)
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            window = self._windows[key] = _Window(0, now + seconds)
            if len(self._windows) > 10_000:
                self._windows = {k: w for k, w in self._windows.items() if w.ends > now}
        refused = window.used >= limit
        if not refused:
            window.used += 1
        left = window.ends - now
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(limit - window.used),
            "X-RateLimit-Reset": f"{self._clock.now_ms() / 1000 + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(bucket.encode()).hexdigest()[:32],
        }
        if refused:
            headers["X-RateLimit-Scope"] = "user"
            return Verdict(headers=headers, retry_after_s=left)
        return Verdict(headers=headers)

    def ban_left(self, address: str) -> float | None:
        """How long an address is still banned; None when it is not."""
        until = self._banned.get(address)
        left = 0.0 if until is None else until - self._clock.monotonic()
        return left if left > 0 else None

    def count_invalid(self, address: str) -> int:
        """Count a 401, 403 or 429 (not of shared scope); at the limit the address is banned.

        docs: topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
        """
        now = self._clock.monotonic()
        counted = self._invalid.setdefault(address, deque())
        counted.append(now)
        while counted[0] <= now - self._settings.invalid_window_s:
            counted.popleft()
        if self.enabled and len(counted) >= self._settings.invalid_requests:
            self._banned[address] = now + self._settings.invalid_ban_s
            counted.clear()
            return self._settings.invalid_requests
        return len(counted)

    def invalid(self) -> dict[str, int]:
        """Invalid requests counted in the window, by address."""
        return {address: len(counted) for address, counted in self._invalid.items()}

    def banned(self) -> dict[str, float]:
        """For how many seconds each banned address remains so."""
        left = {address: self.ban_left(address) for address in self._banned}
        return {address: round(left_s, 3) for address, left_s in left.items() if left_s}

    def forgive(self) -> None:
        """Forget all windows, counts and bans."""
        for store in (self._windows, self._global, self._invalid, self._banned):
            store.clear()

    def _take_global(self, token: str, now: float) -> float | None:
        taken = self._global.setdefault(token, deque())
        while taken and taken[0] <= now - 1.0:
            taken.popleft()
        if len(taken) >= self._settings.global_per_second:
            return taken[0] + 1.0 - now
        taken.append(now)
        return None
