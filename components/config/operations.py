"""Carries operators' intents out while this replica leads, and tells how far each has come.

All that is needed is in bucket ``intent``, so a new leader goes on with what another began. Moves
and rebalances are deleted there when they are done; pods that are to be empty and pins stay.
Progress is published on ``modbot.progress.<operation>`` when it changes and once a second, and at
last ``done`` or ``failed``; who comes late hears the next one.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.config.balancing import Balancer
from components.config.intents import REBALANCE
from components.config.placing import Placer
from components.config.view import View
from components.config.world import Wanted
from components.process.clock import steady_s
from components.telemetry.traces import carry
from contracts import storage, subjects
from contracts.ids import GuildId, PodId
from contracts.message import encode
from contracts.operations import OperationProgress
from contracts.records import MoveIntent

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
TELL_EVERY_S = 1.0


class _Running(msgspec.Struct, kw_only=True):
    what: str
    total: int
    moves: set[GuildId] = set()
    """Guilds of a move. One whose end is not heard of yet may be wanted a second time."""
    left: int = 0
    text: str = ""
    failed: int = 0
    over: bool = False
    told_s: float = float("-inf")
    told: OperationProgress | None = None


class Operations:
    """What operators asked for and is not done yet."""

    def __init__(self, bus: Bus, view: View, placer: Placer, balancer: Balancer) -> None:
        self._bus = bus
        self._view = view
        self._placer = placer
        self._balancer = balancer
        self._bucket = Bucket(bus, storage.INTENT)
        self._running: dict[str, _Running] = {}
        self._finished: dict[str, str] = {}
        """Keys to delete, and the operation of each."""
        self._leading = False
        placer.on_settled = self._settled

    @property
    def running(self) -> list[OperationProgress]:
        """What is under way; nothing from a replica that does not lead."""
        if not self._leading:
            return []
        return [_progress(name, one) for name, one in self._running.items() if not one.over]

    def news(self) -> None:
        """Something changed. A drain may be done before it is looked at: count it now."""
        if not self._leading:
            return
        for pod, intent in self._view.intents.pods.items():
            if intent.draining and intent.operation and intent.operation not in self._running:
                total = len(list(self._held_by(pod)))
                self._operation(intent.operation, f"drain {pod}", total=total)

    async def lead(self) -> None:
        """Carry out until cancelled."""
        self._running.clear()
        self._finished.clear()
        self._leading = True
        try:
            while True:
                if self._view.complete:
                    try:
                        await self._once()
                    except BusError as error:
                        log.info("operations are held up, trying again: %s", error)
                await asyncio.sleep(LOOK_EVERY_S)  # the pace of telling: moves do not wait for it
        finally:
            self._leading = False

    async def _once(self) -> None:
        await self._rebalance()
        self._want_moves()
        for key in list(self._finished):
            await self._bucket.delete(key)
        self._count()
        for name, one in list(self._running.items()):
            await self._tell(name, one)
        for key in list(self._finished):
            if not self._present(key):
                del self._finished[key]

    def _want_moves(self) -> None:
        leader = self._placer.leader
        moves = [
            intent
            for guild, intent in self._view.intents.moves.items()
            if f"move.{guild}" not in self._finished
            and not _wanted(leader.wanted.get(guild), intent)
        ]
        if not moves:
            return
        for intent in moves:
            one = self._operation(intent.operation, f"move guilds to {intent.pod}")
            one.moves.add(intent.guild)
            one.total = len(one.moves)
        leader.want(
            Wanted(
                guild=intent.guild,
                pod=intent.pod,
                purpose="own",
                cause="moved",
                by=intent.by,
                reason=f"{intent.by} asked for it",
                operation=intent.operation,
            )
            for intent in moves
        )
        self._placer.news()

    async def _rebalance(self) -> None:
        intent = self._view.intents.rebalance
        if intent is None or REBALANCE in self._finished or intent.operation in self._running:
            return
        one = self._operation(intent.operation, "spread guilds evenly")
        planned = await self._balancer.plan()
        wishes = self._balancer.wishes(planned.moves, by=intent.by, operation=intent.operation)
        one.total = len(wishes)
        one.text = "; ".join(note.words for note in planned.notes[:3])
        self._placer.leader.want(wishes)
        self._placer.news()

    def _settled(self, settled: dict[GuildId, str]) -> None:
        """Moves have come to their end."""
        for guild, why_not in settled.items():
            intent = self._view.intents.moves.get(guild)
            if intent is None:
                continue
            self._finished[f"move.{guild}"] = intent.operation
            if why_not and (one := self._running.get(intent.operation)) is not None:
                one.failed += 1
                one.text = f"guild {guild}: {why_not}"

    def _count(self) -> None:
        """How much is left of each."""
        left: dict[str, int] = {}
        for wish in self._placer.leader.wanted.values():
            if wish.operation:
                left[wish.operation] = left.get(wish.operation, 0) + 1
        for name, remaining in self._pods_to_empty():
            left[name] = len(remaining)
            reasons = (self._placer.leader.lacking.get(guild, "") for guild in remaining)
            self._running[name].text = next(filter(None, reasons), "")
        for guild, pin in self._view.intents.pins.items():
            if not pin.operation:
                continue
            held = self._view.assignments.get(guild)
            there = held is not None and held.assignment.pod == pin.pod
            one = self._operation(pin.operation, f"pin guild {guild} to {pin.pod}", total=1)
            left[pin.operation] = 0 if there else 1
            one.text = self._placer.leader.lacking.get(guild, "")
        for name, one in self._running.items():
            one.left = left.get(name, 0)
        rebalance = self._view.intents.rebalance
        if rebalance is not None and rebalance.operation in self._running:
            one = self._running[rebalance.operation]
            if one.left == 0:
                self._finished[REBALANCE] = rebalance.operation

    def _pods_to_empty(self) -> Iterator[tuple[str, list[GuildId]]]:
        for pod, intent in self._view.intents.pods.items():
            known = self._running.get(intent.operation)
            if not intent.draining or not intent.operation or (known is not None and known.over):
                continue
            remaining = list(self._held_by(pod))
            one = self._operation(intent.operation, f"drain {pod}", total=len(remaining))
            one.total = max(one.total, len(remaining))
            yield intent.operation, remaining

    def _held_by(self, pod: PodId) -> Iterable[GuildId]:
        for guild in self._view.index.by_pod.get(pod, ()):
            owned = self._view.assignments[guild].assignment
            follows = owned.follower is not None and owned.follower.pod == pod
            if owned.pod == pod or follows:
                yield guild

    def _operation(self, name: str, what: str, *, total: int = 0) -> _Running:
        return self._running.setdefault(name, _Running(what=what, total=total))

    def _present(self, key: str) -> bool:
        intents = self._view.intents
        if key == REBALANCE:
            return intents.rebalance is not None
        return GuildId(key.removeprefix("move.")) in intents.moves

    async def _tell(self, name: str, one: _Running) -> None:
        progress, now_s = _progress(name, one), steady_s()
        if one.over and (one.told is None or one.told.state != "running"):
            return
        if progress == one.told and now_s - one.told_s < TELL_EVERY_S:
            return
        await self._bus.say(subjects.progress(name), encode(progress), carry())
        one.told, one.told_s = progress, now_s
        one.over = progress.state != "running"


def _wanted(wish: Wanted | None, intent: MoveIntent) -> bool:
    return wish is not None and wish.operation == intent.operation


def _progress(name: str, one: _Running) -> OperationProgress:
    state = "running" if one.left else "failed" if one.failed else "done"
    return OperationProgress(
        operation=name,
        what=one.what,
        done=max(0, one.total - one.left - one.failed),
        total=one.total,
        text=one.text,
        state=state,  # type: ignore[arg-type]  # one of the three
    )
