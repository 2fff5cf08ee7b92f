"""Moments as people write and read them, to the millisecond: what is shown can be typed again."""

import re
from datetime import UTC, datetime
from typing import Final

_AGO: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SECONDS: Final = (86_400, 3600, 60, 1)


def parse(text: str, now_ms: int) -> int:
    """Milliseconds since 1970 of an ISO 8601 time (UTC unless it says otherwise), or of a time
    before now: ``10m``, ``2h30m``, ``1d``. Raises `ValueError` in words."""
    ago = _AGO.fullmatch(text)
    if text and ago is not None:
        seconds = sum(
            int(number) * unit
            for number, unit in zip(ago.groups(default="0"), _SECONDS, strict=True)
        )
        return now_ms - seconds * 1000
    try:
        then = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time: write 2026-01-31T17:30:00Z, or how long ago, e.g. 10m or 2h30m"
        ) from error
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return round(then.timestamp() * 1000)


def shown(ms: int) -> str:
    """ISO 8601 in UTC."""
    at = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{at}.{ms % 1000:03d}Z"
