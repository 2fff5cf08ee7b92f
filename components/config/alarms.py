"""What an operator must know before it costs data: a log that fills, a backup that stands still, a
copy that is missing (design.md, "Holes are seen").

Pure. The age that counts is that of the oldest input which is not certainly in the backup, seen
from the pod's mark "complete up to G"; never that of a quiet guild's checkpoint. `find` says what
is wrong now, `Board` what stands: something that comes and goes within seconds is no alarm.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from components.bus.stream_info import StreamInfo
from components.config.parking import skip_words
from contracts import storage
from contracts.ids import GuildId, PodId, Sequence
from contracts.operations import Alarm, NatsNode

HOUR_S: Final = 3600.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From where on something is an alarm; as `ConfigSettings` has them."""

    full: float
    full_critical: float
    lag_s: float
    age_s: float
    retention: float


UNOPENED_S: Final = 60.0
"""Even a pod whose replica must be restored has opened its guilds by then."""


class PodSight(msgspec.Struct, frozen=True, kw_only=True):
    """A pod with rows, by its last lease."""

    pod: PodId
    here: bool
    """It holds its lease."""
    backed_up: bool
    started_ms: int
    mark: Sequence
    """All its guilds are complete up to there in the backup (without one: on its disk); 0: the
    first mark of this start is not there yet."""
    complete_up_to: Sequence
    """The same on its disk."""
    lag_s: float
    unmarked_ms: int | None
    """When the first input after the mark was stored; None: there is none."""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen at one look. ``streams``: None for one that did not answer."""

    streams: Mapping[str, StreamInfo | None]
    pods: list[PodSight]
    parked: Mapping[GuildId, Sequence] = {}
    """Guilds that wait at an input."""
    unopened: Mapping[PodId, Mapping[GuildId, str]] = {}
    """Guilds that a pod has owned for longer than `UNOPENED_S` without opening them, and why they
    wait."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong at this look."""

    name: str
    severity: Literal["warning", "critical"]
    about: str
    text: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm was raised, has become critical, or is over."""

    alarm: Alarm
    over: bool


def find(sight: Sight, limits: Limits) -> list[Found]:
    """Everything that is wrong."""
    found = [one for name, info in sight.streams.items() for one in _stream(name, info, limits)]
    found += [one for node in nodes(sight.streams.values()) if (one := _node(node)) is not None]
    found += [_parked(guild, sequence) for guild, sequence in sight.parked.items()]
    found += [_unopened(pod, guilds) for pod, guilds in sight.unopened.items() if guilds]
    inputs = sight.streams.get(storage.INPUTS)
    if inputs is not None:
        found += [one for pod in sight.pods for one in _pod(pod, inputs, limits)]
    return found


def nodes(streams: Iterable[StreamInfo | None]) -> list[NatsNode]:
    """The servers of the cluster, as the streams' leaders see them; none of a single server."""
    leads: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    away: set[str] = set()
    for info in streams:
        if info is None or not info.leader:
            continue
        leads.setdefault(info.leader, []).append(info.name)
        for copy in info.copies:
            leads.setdefault(copy.name, [])
            if copy.offline:
                away.add(copy.name)
            if copy.offline or not copy.current:
                behind.setdefault(copy.name, []).append(info.name)
    if len(leads) == 1:
        return []  # a server that stands alone leads everything, too
    return [
        NatsNode(name=name, leads=leads[name], behind=behind.get(name, []), away=name in away)
        for name in sorted(leads)
    ]


class Board:
    """The alarms that stand. What is seen for ``after_s`` without a break is one, and is over when
    it was not seen for as long."""

    def __init__(self, *, after_s: float) -> None:
        self._after_s = after_s
        self._known: dict[tuple[str, str], _Known] = {}

    @property
    def standing(self) -> list[Alarm]:
        """The critical ones first, then by age."""
        alarms = [known.alarm for known in self._known.values() if known.stands]
        return sorted(alarms, key=lambda alarm: (alarm.severity == "warning", alarm.since_ms))

    def look(self, found: Iterable[Found], now_s: float, now_ms: int) -> list[Change]:
        """Take in what one look has found; returns what has changed by it."""
        changes: list[Change] = []
        seen: set[tuple[str, str]] = set()
        for one in found:
            key = (one.name, one.about)
            seen.add(key)
            known = self._known.get(key)
            if known is None:
                known = _Known(since_s=now_s, seen_s=now_s, alarm=_alarm(one, now_ms))
                self._known[key] = known
            critical = one.severity == "critical" and known.alarm.severity == "warning"
            stood, known.seen_s = known.stands, now_s
            known.alarm = _alarm(one, known.alarm.since_ms)
            known.stands = now_s - known.since_s >= self._after_s
            if known.stands and (critical or not stood):
                changes.append(Change(alarm=known.alarm, over=False))
        for key in self._known.keys() - seen:
            known = self._known[key]
            if not known.stands:
                del self._known[key]
            elif now_s - known.seen_s >= self._after_s:
                del self._known[key]
                changes.append(Change(alarm=known.alarm, over=True))
        return changes


class _Known(msgspec.Struct, kw_only=True):
    since_s: float
    seen_s: float
    alarm: Alarm
    stands: bool = False


def _alarm(found: Found, since_ms: int) -> Alarm:
    return Alarm(
        name=found.name,
        severity=found.severity,
        about=found.about,
        text=found.text,
        since_ms=since_ms,
    )


def _stream(name: str, info: StreamInfo | None, limits: Limits) -> Iterable[Found]:
    if info is None:
        yield Found(
            name="stream-away",
            severity="critical",
            about=name,
            text=f"{name} has no leader that answers: nothing is written to it",
        )
        return
    if not info.max_size or not info.refuses_when_full:
        return
    share = info.size / info.max_size
    if share < limits.full:
        return
    text = (
        f"{name} is {share:.0%} full ({_size(info.size)} of {_size(info.max_size)}), and refuses "
        "what is written to it when it is full"
    )
    if info.max_age_s:
        age_s = (info.now_ms - info.first_ms) / 1000
        text += (
            f"; its oldest message is {_time(age_s)} old and goes after {_time(info.max_age_s)}: "
            "raise max_bytes before that"
        )
    yield Found(
        name="stream-full",
        severity="critical" if share >= limits.full_critical else "warning",
        about=name,
        text=text,
    )


def _node(node: NatsNode) -> Found | None:
    if not node.behind:
        return None
    some = ", ".join(node.behind[:3]) + (" …" if len(node.behind) > 3 else "")
    copies = f"its copies of {len(node.behind)} streams ({some}) are not current"
    if node.away:
        text = f"{node.name} is away: {copies}, and one more node lost may stop them"
    else:
        text = f"{node.name} is behind: {copies}"
    return Found(
        name="node-away" if node.away else "node-behind",
        severity="warning",
        about=node.name,
        text=text,
    )


def _parked(guild: GuildId, sequence: Sequence) -> Found:
    return Found(
        name="parked",
        severity="critical",
        about=guild,
        text=f"guild {guild} is {skip_words(guild, sequence)}",
    )


def _unopened(pod: PodId, guilds: Mapping[GuildId, str]) -> Found:
    guild, reason = next(iter(guilds.items()))
    are = "guild is" if len(guilds) == 1 else "guilds are"
    return Found(
        name="unopened",
        severity="critical",
        about=pod,
        text=f"{len(guilds)} {are} not served by {pod}, which owns them (modbot ops guilds "
        f"--waiting), as {guild}: {reason}",
    )


def _pod(pod: PodSight, inputs: StreamInfo, limits: Limits) -> Iterable[Found]:
    who = pod.pod if pod.here else f"{pod.pod} (away)"
    where = "the backup" if pod.backed_up else "the database"
    if pod.here and pod.backed_up and pod.lag_s >= limits.lag_s:
        yield Found(
            name="backup-lag",
            severity="warning",
            about=pod.pod,
            text=f"the oldest commit of {who} that is not in the backup is {_time(pod.lag_s)} old: "
            "the bucket does not take it, or Litestream does not send it (see its log)",
        )
    if pod.mark and pod.mark + 1 < inputs.first:
        yield Found(
            name="mark-hole",
            severity="critical",
            about=pod.pod,
            text=f"what {who} has in {where} is complete up to {pod.mark}, and the log begins at "
            f"{inputs.first}: without the pod's disk its guilds could not be restored",
        )
        return
    if pod.unmarked_ms is None:
        return
    # Until the first mark of a start is in the backup, the start before it is still a source.
    since_ms = pod.unmarked_ms if pod.mark else max(pod.unmarked_ms, pod.started_ms)
    age_s = (inputs.now_ms - since_ms) / 1000
    if age_s < limits.age_s:
        return
    last_s = inputs.max_age_s * limits.retention
    text = f"the oldest input that may be missing in {where} of {who} is {_time(age_s)} old"
    if inputs.max_age_s:
        text += f", and the log drops it after {_time(inputs.max_age_s)}"
    if pod.backed_up and pod.complete_up_to > pod.mark:
        text += ": the bucket does not take it, or Litestream does not send it (see its log)"
    elif pod.here:
        text += ": a guild of the pod does not get on (modbot ops guilds --waiting)"
    yield Found(
        name="mark-age",
        severity="critical" if inputs.max_age_s and age_s >= last_s else "warning",
        about=pod.pod,
        text=text,
    )


def _size(size: int) -> str:
    for unit, of_unit in (("GiB", 2**30), ("MiB", 2**20)):
        if size >= of_unit:
            return f"{size / of_unit:.1f} {unit}"
    return f"{size / 2**10:.0f} KiB"


def _time(seconds: float) -> str:
    if seconds >= 2 * HOUR_S:
        return f"{seconds / HOUR_S:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
