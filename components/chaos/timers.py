"""Timers against the log: what was armed and not replaced has fired, once, and nothing else has.
Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from components.chaos.oracle import Replayed
from components.traffic.evidence import Evidence
from contracts.ids import GuildId
from contracts.inputs import TimerFired


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the timers."""

    count: int
    lost: list[str]
    doubled: list[str]
    """Fired again, or by an input that armed none."""


def check_timers(evidence: Evidence, replays: Mapping[GuildId, Replayed]) -> Fired:
    """Every timer that was pending at the evidence's cut has fired, or was armed anew."""
    fired: set[tuple[GuildId, str, int]] = set()
    doubled: list[str] = []
    for item in evidence.inputs:
        if not isinstance(item.body, TimerFired) or item.guild not in replays:
            continue
        armed_by, name = item.body.armed_by, item.body.timer
        timers = replays[item.guild].timers
        words = f"timer {name} of guild {item.guild}, armed by {armed_by}"
        if (item.guild, name, armed_by) in fired:
            doubled.append(f"{words}, fired again at {item.sequence}")
        elif (armed_by, name) not in timers and armed_by <= replays[item.guild].last:
            doubled.append(f"{words}, fired at {item.sequence}: nothing had armed it")
        fired.add((item.guild, name, armed_by))
    lost = [
        f"timer {name} of guild {guild}, armed by {armed_by}, has not fired"
        for guild, replayed in replays.items()
        for name, armed_by in _last(replayed.timers).items()
        if armed_by <= evidence.cut.inputs[guild] and (guild, name, armed_by) not in fired
    ]
    return Fired(count=len(fired), lost=lost, doubled=doubled)


def _last(timers: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Each timer and the last input that armed it."""
    return {name: armed_by for armed_by, name in sorted(timers)}
