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
from components.bus.errors import BusError, WrongLastSequence
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

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
TELL_EVERY_S = 1.0


class _Running(msgspec.Struct, kw_only=True):
    what: str
    total: int
    pod: PodId | None = None
    """To be empty; or where `guild` is pinned."""
    guild: GuildId | None = None
    wishes: dict[GuildId, Wanted] = {}
    """Moves whose end is not known."""
    moves: set[GuildId] = set()
    """All guilds of a move. One whose end is not heard of yet may be wanted a second time."""
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
                self._operation(intent.operation, f"drain {pod}", total=total).pod = pod

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
        self._count()
        for name, one in list(self._running.items()):
            await self._tell(name, one)
        # Whoever leads next tells the end of what is still there: what was not told is not deleted.
        for key, operation in list(self._finished.items()):
            if self._asks(key) == operation:
                await self._delete(key)
            else:
                del self._finished[key]

    async def _delete(self, key: str) -> None:
        """Delete what was carried out, and nothing that was asked for since: our watch shows that
        soon, and it is carried out then."""
        try:
            await self._bucket.delete(key, self._view.intents.revisions[key])
        except WrongLastSequence:
            log.debug("intent %s is deleted already, or there is a newer wish", key)

    def _want_moves(self) -> None:
        for guild, intent in self._view.intents.moves.items():
            one = self._operation(intent.operation, f"move guilds to {intent.pod}")
            key = f"move.{guild}"
            if guild in one.wishes or self._finished.get(key) == intent.operation:
                continue
            one.moves.add(guild)
            one.total = len(one.moves)
            one.wishes[guild] = Wanted(
                guild=guild,
                pod=intent.pod,
                purpose="own",
                cause="moved",
                by=intent.by,
                reason=f"{intent.by} asked for it",
                operation=intent.operation,
            )
            self._want([one.wishes[guild]])

    async def _rebalance(self) -> None:
        intent = self._view.intents.rebalance
        if intent is None or intent.operation in self._running:
            return
        planned = await self._balancer.plan()
        wishes = self._balancer.wishes(planned.moves, by=intent.by, operation=intent.operation)
        one = self._operation(intent.operation, "spread guilds evenly", total=len(wishes))
        one.text = "; ".join(note.words for note in planned.notes[:3])
        one.wishes = {wish.guild: wish for wish in wishes}
        self._want(wishes)

    def _want(self, wishes: list[Wanted]) -> None:
        self._placer.leader.want(wishes)
        self._placer.news()

    def _settled(self, settled: dict[GuildId, str]) -> None:
        """Moves have come to their end."""
        for guild, why_not in settled.items():
            wanted = self._placer.leader.wanted.get(guild)
            for name, one in self._running.items():
                if guild in one.wishes and (wanted is None or wanted.operation != name):
                    self._end(name, guild, why_not or "it went elsewhere meanwhile")

    def _end(self, name: str, guild: GuildId, why_not: str) -> None:
        """The operation does not want the guild moved any more."""
        one, key = self._running[name], f"move.{guild}"
        if not self._made(one.wishes.pop(guild)):
            one.failed += 1
            one.text = f"guild {guild}: {why_not}"
        if self._asks(key) == name:
            self._finished[key] = name

    def _made(self, wish: Wanted | None) -> bool:
        """Whether the guild is where it was wanted."""
        if wish is None:
            return True
        held = self._view.assignments.get(wish.guild)
        if held is None:
            return False
        owned = held.assignment
        one = owned if wish.purpose == "own" else owned.follower
        return one is not None and one.pod == wish.pod and self._made(wish.then)

    def _count(self) -> None:
        """How much is left of each."""
        left: dict[str, int] = {}
        for name, remaining in self._pods_to_empty():
            left[name] = len(remaining)
            reasons = (self._placer.leader.lacking.get(guild, "") for guild in remaining)
            self._running[name].text = next(filter(None, reasons), "")
        for guild, pin in self._view.intents.pins.items():
            if not pin.operation:
                continue
            one = self._operation(pin.operation, f"pin guild {guild} to {pin.pod}", total=1)
            one.pod, one.guild = pin.pod, guild
            left[pin.operation] = self._remaining(one)
            one.text = self._placer.leader.lacking.get(guild, "")
        for name, one in self._running.items():
            self._follow_wishes(name, one)
            one.left = left.get(name, len(one.wishes))
            if not one.over and (taken_back := self._taken_back(name, one)):
                one.failed = self._remaining(one)
                one.text = taken_back if one.failed else ""
        rebalance = self._view.intents.rebalance
        if rebalance is not None and rebalance.operation in self._running:
            one = self._running[rebalance.operation]
            if one.left == 0:
                self._finished[REBALANCE] = rebalance.operation

    def _follow_wishes(self, name: str, one: _Running) -> None:
        """End what was wanted otherwise meanwhile. A wish that is gone has come to no end that was
        heard of, and a move is wanted whatever balance wants: they are wanted again."""
        again: list[Wanted] = []
        for guild, wish in list(one.wishes.items()):
            now = self._placer.leader.wanted.get(guild)
            if now is not None and now.operation == name:
                continue
            if now is None or not now.operation or self._asks(f"move.{guild}") == name:
                again.append(wish)
            else:
                self._end(name, guild, f"{now.by} asked for {now.pod} meanwhile")
        if again:
            self._want(again)

    def _taken_back(self, name: str, one: _Running) -> str:
        """Why a drain or a pin is not carried on; "" while it is."""
        intents = self._view.intents
        if one.guild is not None:
            pin = intents.pins.get(one.guild)
            if pin is None:
                return f"guild {one.guild} was unpinned"
            return "" if pin.operation == name else f"{pin.by} pinned it to {pin.pod} meanwhile"
        if one.pod is not None:
            intent = intents.pods.get(one.pod)
            if intent is None or not intent.draining:
                return f"{one.pod} was undrained"
            same = intent.operation == name
            return "" if same else f"replaced by another drain, which {intent.by} asked for"
        return ""

    def _remaining(self, one: _Running) -> int:
        """Guilds that a drain or a pin is about and that are not where they are to be."""
        assert one.pod is not None  # it is of a drain or a pin
        if one.guild is None:
            return len(list(self._held_by(one.pod)))
        held = self._view.assignments.get(one.guild)
        return 0 if held is not None and held.assignment.pod == one.pod else 1

    def _pods_to_empty(self) -> Iterator[tuple[str, list[GuildId]]]:
        for pod, intent in self._view.intents.pods.items():
            known = self._running.get(intent.operation)
            if not intent.draining or not intent.operation or (known is not None and known.over):
                continue
            remaining = list(self._held_by(pod))
            one = self._operation(intent.operation, f"drain {pod}", total=len(remaining))
            one.pod = pod
            one.total = max(one.total, len(remaining))
            yield intent.operation, remaining

    def _held_by(self, pod: PodId) -> Iterable[GuildId]:
        for guild in self._view.index.by_pod.get(pod, ()):
            owned = self._view.assignments[guild].assignment
            others = (owned.follower, owned.joining)
            if owned.pod == pod or any(one is not None and one.pod == pod for one in others):
                yield guild

    def _operation(self, name: str, what: str, *, total: int = 0) -> _Running:
        return self._running.setdefault(name, _Running(what=what, total=total))

    def _asks(self, key: str) -> str | None:
        """The operation that a key of the bucket asks for."""
        intents = self._view.intents
        if key == REBALANCE:
            return intents.rebalance.operation if intents.rebalance is not None else None
        move = intents.moves.get(GuildId(key.removeprefix("move.")))
        return move.operation if move is not None else None

    async def _tell(self, name: str, one: _Running) -> None:
        progress, now_s = _progress(name, one), steady_s()
        if one.over and (one.told is None or one.told.state != "running"):
            return
        if progress == one.told and now_s - one.told_s < TELL_EVERY_S:
            return
        await self._bus.say(subjects.progress(name), encode(progress), carry())
        one.told, one.told_s = progress, now_s
        one.over = progress.state != "running"


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
