"""What the rate limit measurement reads from the simulator's record."""

from typing import Any

from components.bench.ratelimit import ban_times, counted
from components.simulator.record import Entry


def rest(at_ms: float, method: str, path: str, status: int = 204, **data: Any) -> Entry:
    return Entry(
        n=1,
        at_ms=at_ms,
        kind="rest",
        data={"method": method, "path": path, "status": status} | data,
    )


def dispatch(at_ms: float, message: str) -> Entry:
    data = {"event": "MESSAGE_CREATE", "subject_id": message}
    return Entry(n=1, at_ms=at_ms, kind="dispatch", data=data)


def test_a_ban_is_timed_from_the_message_to_the_first_request_that_worked() -> None:
    entries = [
        dispatch(1000, "7"),
        dispatch(1100, "8"),
        rest(1200, "PUT", "/guilds/1/bans/70", 429),
        rest(1400, "PUT", "/guilds/1/bans/70"),
        rest(1500, "PUT", "/guilds/1/bans/70"),
        rest(1600, "DELETE", "/guilds/1/bans/80"),
    ]
    assert ban_times(entries, {"7": "70", "8": "80"}) == [0.4]


def test_what_the_global_limit_does_not_count_is_left_out() -> None:
    assert counted(rest(0, "DELETE", "/channels/1/messages/2"))
    assert not counted(rest(0, "DELETE", "/channels/1/messages/2", 429, scope="global"))
    assert not counted(rest(0, "POST", "/interactions/1/token/callback"))
    assert not counted(rest(0, "PATCH", "/webhooks/1/token/messages/@original"))
