"""The outbox of one guild on its way out: two lanes, each in order, urgent before posts. Deletions
of messages commute: consecutive ones run side by side, and what comes after waits for them.

Promise: an effect is attempted only while the gate is open, the guild is caught up, and no result
of it is known; its result is appended to the guild's log under an id without an epoch, so the
first one wins. An attempt that brings no certain answer puts the effect in doubt, and from then
on it is settled by `settlement.TABLE`. What waits (429, 5xx) waits here, at the head of its lane.

A result is a report, not an act: it is appended after the gate has closed, too.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.engine.effects import payload_of
from components.gateway.engine.model import Effect, Lane
from components.gateway.shell.applier import Applier
from components.gateway.shell.effects.executors import EXECUTE
from components.gateway.shell.effects.outcomes import Again, Expired, Parked, Refused
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.effects.settlement import settle
from components.gateway.shell.effects.work import Data, Work
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.process.clock import WallClock
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.ids import GuildId, Sequence
from contracts.inputs import EffectError, EffectResult, effect_result_id
from contracts.message import MalformedMessage, encode

log = logging.getLogger(__name__)

SIDE_BY_SIDE: Final = 8
"""Deletions of one guild at once: one after the other, a raid would be cleared at the pace of the
round trip to Discord, whatever the pod's share of the rate is."""
UNREPORTED: Final = 8
"""Results of a lane that may be on their way to the log while it goes on. Each would be in doubt
if the pod died now; waiting for each halves what one guild can do in a second."""
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 60.0
LANES: Final[tuple[Lane, ...]] = ("urgent", "posts")

Key = tuple[Sequence, int]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Outlets(msgspec.Struct, frozen=True, kw_only=True):
    """What every guild's lanes share."""

    bus: Bus
    gate: Gate
    rest: Rest
    applier: Applier
    spawn: Spawn
    wall_ms: WallClock


class Lanes:
    """The outgoing effects of one guild at one epoch."""

    def __init__(self, outlets: Outlets, permit: Permit) -> None:
        self._out = outlets
        self._permit = permit
        self._waiting: dict[Lane, deque[tuple[Effect, bool]]] = {lane: deque() for lane in LANES}
        self._arrived = {lane: asyncio.Event() for lane in LANES}
        self._workers: dict[Lane, asyncio.Task[None]] = {}
        self._known: set[Key] = set()
        self._settled: set[Key] = set()
        self._reports: set[asyncio.Task[None]] = set()
        self._unreported = {lane: asyncio.Semaphore(UNREPORTED) for lane in LANES}
        self._urgent_idle = asyncio.Event()
        self._urgent_idle.set()
        self._caught_up = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def pending(self) -> int:
        """Effects that wait or are under way."""
        return len(self._known)

    def add(self, effect: Effect, *, in_doubt: bool) -> None:
        """Take an effect; one that is here already is not taken twice."""
        key = (effect.sequence, effect.index)
        if key in self._known or self._closing.is_set():
            return
        self._known.add(key)
        self._waiting[effect.lane].append((effect, in_doubt))
        self._arrived[effect.lane].set()
        if effect.lane == "urgent":
            self._urgent_idle.clear()
        worker = self._workers.get(effect.lane)
        if worker is None or worker.done():
            self._workers[effect.lane] = self._out.spawn(self._drain(effect.lane))

    def settled(self, key: Key) -> None:
        """A result of the effect is on the log, whoever wrote it."""
        if key in self._known:
            self._settled.add(key)

    def hold(self) -> None:
        """Begin nothing until `release`: the end of the log is not known."""
        self._caught_up.clear()

    def release(self) -> None:
        """The guild is applied up to a barrier that was read after the gate opened."""
        self._caught_up.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing.set()

    async def close(self) -> None:
        """Begin nothing more; what is under way is finished and reported."""
        self.stop()
        workers = [worker for worker in self._workers.values() if not worker.done()]
        if workers:
            await asyncio.wait(workers)
        if self._reports:
            await asyncio.wait(self._reports)

    async def _drain(self, lane: Lane) -> None:
        waiting = self._waiting[lane]
        running: set[asyncio.Task[None]] = set()
        while running or (waiting and not self._closing.is_set()):
            if waiting and not self._closing.is_set():
                commutes = waiting[0][0].kind == "message.delete"
                if commutes and len(running) < SIDE_BY_SIDE:
                    running.add(self._out.spawn(self._bring_out(*waiting.popleft())))
                    continue
                if not running:
                    await self._bring_out(*waiting.popleft())
                    continue
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                continue
            self._arrived[lane].clear()
            arrival = asyncio.ensure_future(self._arrived[lane].wait())
            await asyncio.wait({*running, arrival}, return_when=asyncio.FIRST_COMPLETED)
            arrival.cancel()
            running = {one for one in running if not one.done()}
        if lane == "urgent":
            self._urgent_idle.set()

    async def _bring_out(self, effect: Effect, in_doubt: bool) -> None:
        if not await self._try(effect, in_doubt):
            self._forget(effect)

    async def _try(self, effect: Effect, in_doubt: bool) -> bool:
        """Whether there is a result, which is being reported; else the effect is left."""
        backoff_s = FIRST_BACKOFF_S
        with span(f"effect {effect.kind}", parent=effect.traceparent, guild=effect.guild):
            while await self._may_begin(effect):
                try:
                    result = await self._attempt(effect, in_doubt)
                except GateClosed as closed:
                    log.info("effect waits: %s", closed.reason)
                    await self._pause(0.05)  # the gate's own event may be set: then it is (c)
                except Again as again:
                    in_doubt = in_doubt or again.in_doubt
                    after_s = again.after_s if again.after_s is not None else backoff_s
                    log.info(
                        "%s of guild %s again in %.1f s: %s",
                        effect.kind,
                        effect.guild,
                        after_s,
                        again,
                    )
                    await self._pause(after_s)
                    backoff_s = min(LONGEST_BACKOFF_S, backoff_s * 2)
                else:
                    await self._unreported[effect.lane].acquire()
                    report = self._out.spawn(self._report(effect, result))
                    self._reports.add(report)
                    report.add_done_callback(self._reports.discard)
                    return True
        return False

    def _forget(self, effect: Effect) -> None:
        key = (effect.sequence, effect.index)
        self._known.discard(key)
        self._settled.discard(key)

    async def _may_begin(self, effect: Effect) -> bool:
        """Wait until the effect may be attempted; False when it must not be any more."""
        await self._either(self._caught_up)
        if effect.lane == "posts":
            await self._either(self._urgent_idle)
        await self._either_gate()
        return not (self._closing.is_set() or (effect.sequence, effect.index) in self._settled)

    async def _attempt(self, effect: Effect, in_doubt: bool) -> EffectResult:
        now_ms = self._out.wall_ms()
        if now_ms >= effect.expires_ms:
            words = "it came too late"
            return _result(effect, "expired", error=EffectError(message=words))
        work = Work(
            effect=effect,
            permit=self._permit,
            rest=self._out.rest,
            bus=self._out.bus,
            gate=self._out.gate,
            applier=self._out.applier,
            now_ms=now_ms,
        )
        try:
            payload = payload_of(effect.kind, effect.payload)
            if in_doubt:
                data = await settle(work, payload)
            else:
                data = await EXECUTE[effect.kind](work, payload)
        except Refused as refused:
            return _result(effect, "failed", error=refused.error)
        except Expired as expired:
            return _result(effect, "expired", error=EffectError(message=str(expired)))
        except (Parked, MalformedMessage) as parked:
            return _result(effect, "parked", error=EffectError(message=str(parked)))
        except (GateClosed, Again):
            raise
        except Exception as error:
            # A defect in one kind of effect, or an answer of a shape we do not know: a person
            # must look, and the guild goes on.
            log.exception("%s of guild %s is parked", effect.kind, effect.guild)
            words = f"unexpected {type(error).__name__}"
            return _result(effect, "parked", error=EffectError(message=words))
        return _result(effect, "done", data=data)

    async def _report(self, effect: Effect, result: EffectResult) -> None:
        try:
            await self._append(result)
        finally:
            self._forget(effect)
            self._unreported[effect.lane].release()

    async def _append(self, result: EffectResult) -> None:
        guild: GuildId = self._permit.guild
        name = effect_result_id(guild, result.sequence, result.index)
        pause_s = 0.1
        while True:
            try:
                await self._out.bus.append(
                    subjects.inputs(guild), encode(result), carry({headers.MSG_ID: name})
                )
            except BusError as error:
                # Without its result the effect would be in doubt; the id makes it single.
                log.warning("result of an effect not on the log yet: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(5.0, pause_s * 2)
            else:
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _either(self, event: asyncio.Event) -> None:
        """Wait for the event, or for the close."""
        if event.is_set() or self._closing.is_set():
            return
        await _first(event.wait(), self._closing.wait())

    async def _either_gate(self) -> None:
        if self._closing.is_set() or self._out.gate.is_open:
            return
        await _first(self._out.gate.opened(), self._closing.wait())


def _result(
    effect: Effect,
    outcome: str,
    *,
    data: Data | None = None,
    error: EffectError | None = None,
) -> EffectResult:
    return EffectResult(
        sequence=effect.sequence,
        index=effect.index,
        outcome=outcome,  # type: ignore[arg-type]
        data=data or {},
        error=error,
    )


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
