"""One round: fresh guilds, mixed traffic, a fault at a random moment, its end, then the truth.

Raises `NotPlayed`, whatever it was: a round that could not be played to its end is a failed one.
Whatever a fault has done to the stack ends with the fault itself.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from components.bus.errors import BusError
from components.chaos.arena import Arena, NotInTime
from components.chaos.backups import Backups, restored
from components.chaos.checker import (
    Checked,
    History,
    Violations,
    check_round,
    nothing_checked,
)
from components.chaos.load import Load
from components.chaos.oracle import Held, replay
from components.chaos.probes import deletions, effect_gaps, read_gaps
from components.chaos.questions import ANSWER_S, Outage, all_answered, outages
from components.chaos.scenario import Fault, Scenario
from components.chaos.states import held_when_whole
from components.chaos.town import Town, found
from components.chaos.unplayed import NotPlayed
from components.process.clock import steady_s
from components.traffic.evidence import Cut, Evidence, cut, gather, unsettled
from components.traffic.guilds import MOD_LOG
from contracts.ids import GuildId

TALKING = 8
PROBED = 4
BEFORE_S = (1.5, 3.0)
"""The fault comes at a moment in this range after the traffic has begun."""
AFTER_S = 2.0
"""The traffic goes on for so long after everything is back."""
FOLLOWED_WITHIN_S = 15.0
SOON_S = 0.5


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a round."""

    words: str
    struck: tuple[str, ...]
    """Names of the faults that did their harm."""
    checked: Checked
    violations: Violations
    history: History
    read_gaps_s: list[float]
    effect_gaps_s: list[float]
    causes: dict[str, int]
    """Why epochs of the round's guilds began."""
    took_s: float


async def play(arena: Arena, scenario: Scenario, seed: int, number: int) -> Played:
    """Play one round, in which timers come due soon. Raises `NotPlayed`."""
    soon = arena.flag("timers")
    soon.touch()
    try:
        return await _begin(arena, scenario, seed, number)
    finally:
        soon.unlink()


async def _begin(arena: Arena, scenario: Scenario, seed: int, number: int) -> Played:
    began_s = steady_s()
    since, load = 0, None
    try:
        arena.begin(seed, number)
        since = (await arena.live.control.record(limit=1)).last
        town, load = await _found(arena, scenario)
        return await _play(arena, scenario, town, load, since, began_s)
    except Exception as error:  # whatever it was, what the round has come to is kept and told
        raise NotPlayed(error, since, load) from error


async def _found(arena: Arena, scenario: Scenario) -> tuple[Town, Load]:
    """The round's guilds, each with an owner and a follower, and the traffic that they get."""
    live = arena.live
    town = await found(live.control, live.bus, arena.number, talking=TALKING, probed=PROBED)
    arena.guilds, arena.probed = town.ids, town.probed_ids
    await _with_followers(arena)
    edges = {name: live.record.urls[name] for name in arena.replicas("edge")}
    load = Load(
        control=live.control,
        bus=live.bus,
        town=town,
        edges=edges,
        token=arena.operator_token,
        dice=arena.roll("load"),
        strangers=arena.roll("strangers"),
        patience_s=scenario.patience_s,
        pods=arena.replicas("gateway"),
        pid=arena.pid,
    )
    return town, load


async def _play(
    arena: Arena, scenario: Scenario, town: Town, load: Load, since: int, began_s: float
) -> Played:
    traffic = asyncio.create_task(load.run())
    try:
        await _unless_ended(traffic, arena.roll("moment").uniform(*BEFORE_S))
        fault = await scenario.inject(arena)
        await arena.whole()
        await _answering(load, arena)
        ended_ms = time.time() * 1000
        await _unless_ended(traffic, AFTER_S)
    except asyncio.CancelledError:
        traffic.cancel()
        await asyncio.gather(traffic, return_exceptions=True)
        raise
    except Exception as error:
        load.stop()
        (ended,) = await asyncio.gather(traffic, return_exceptions=True)
        if isinstance(ended, Exception):  # it may be the reason, or have the same one
            raise ExceptionGroup("the fault and the traffic", [error, ended]) from None
        raise
    load.stop()
    await traffic
    history = await _settled_history(arena, town, load, fault, since, scenario.settle_s)
    arena.watched.require_alive()
    checked, violations = check_round(history)
    struck = _struck(fault, town)
    reads = read_gaps(load.probes.answers, struck, fault.began_ms - 100, ended_ms)
    effects = effect_gaps(
        load.probes.posts, deletions(history.evidence.record), struck, fault.began_ms
    )
    checked.moves = len(load.moved)
    checked.unowned = min(len(reads), len(effects))
    violations.not_settled += nothing_checked(checked, scenario.must)
    return Played(
        words=fault.words,
        struck=fault.struck or (scenario.name,),
        checked=checked,
        violations=violations,
        history=history,
        read_gaps_s=reads,
        effect_gaps_s=effects,
        causes=arena.watched.causes(set(town.ids)),
        took_s=steady_s() - began_s,
    )


def _struck(fault: Fault, town: Town) -> list[GuildId]:
    """The probed guilds that the fault must have struck."""
    return [guild for guild in town.probed_ids if guild in fault.guilds]


async def _unless_ended(traffic: "asyncio.Task[None]", seconds: float) -> None:
    """Let the traffic go on for a while; what ends it is raised."""
    done, _ = await asyncio.wait([traffic], timeout=seconds)
    for task in done:
        task.result()


async def _with_followers(arena: Arena) -> None:
    """Wait until every guild has a follower that holds its rows. An installation in which no
    guild gets one is played without: what needs followers then says so."""
    watched = arena.watched
    try:
        await arena.until(
            lambda: all(watched.is_followed(guild) for guild in arena.guilds),
            "every guild of the round has a follower that holds its rows",
            FOLLOWED_WITHIN_S,
        )
    except NotInTime:
        if any(watched.is_followed(guild) for guild in arena.guilds):
            raise


async def _answering(load: Load, arena: Arena) -> None:
    """Wait until every probed guild has answered a question that was asked from now on."""
    now = time.time() * 1000

    def all_of_them() -> bool:
        return {a.guild for a in load.probes.answers if a.asked_ms > now} >= set(arena.probed)

    await arena.until(all_of_them, "every probed guild answers again")


async def _settled_history(
    arena: Arena, town: Town, load: Load, fault: Fault, since: int, settle_s: float
) -> History:
    """Everything about the round once its guilds' owners have nothing left to do, or at the
    deadline: then what is missing is missing."""
    moment = await _moment(arena, town)
    until = steady_s() + settle_s
    waiting = await _settle(arena, town, until)
    shown = await _questions(arena, load.questions, until)
    backups = await restored(arena, town.ids)
    while True:
        held, missing = await held_when_whole(arena, moment.inputs, until)
        waiting += missing
        history = await _history(
            arena, town, load, fault, moment, since, shown, waiting, held, backups
        )
        _, violations = check_round(history)
        lost = violations.inputs_lost or violations.effects_lost or violations.facts_missing
        if not lost or waiting or steady_s() > until:
            return history
        await asyncio.sleep(SOON_S)  # a dispatch may still be on its way: nobody tells
        waiting = await _settle(arena, town, until)


async def _settle(arena: Arena, town: Town, until: float) -> list[str]:
    """Wait until no owner has anything to do; what it has to do at the deadline."""
    while True:
        waiting = [
            words for words in await unsettled(arena.live.bus, town.ids) if _without_parked(words)
        ]
        if not waiting or steady_s() > until:
            return waiting
        await asyncio.sleep(0.1)  # another process's state: there is no event for it


def _without_parked(words: str) -> bool:
    """Whether there is more than effects that wait for a human, which do not settle."""
    what = words.partition(": ")[2]
    return any(not part.endswith("effects parked") for part in what.split(", "))


async def _questions(arena: Arena, asked: Sequence[int], until: float) -> list[dict[str, Any]]:
    control = arena.live.control
    try:
        async with asyncio.timeout(max(ANSWER_S, until - steady_s())):
            return await all_answered(control, asked)
    except TimeoutError:
        return [await control.interaction(one) for one in asked]


async def _moment(arena: Arena, town: Town) -> Cut:
    """This moment, of a bus that may have just come back."""
    while True:
        try:
            return await cut(arena.live.control, arena.live.bus, town.ids)
        except BusError:
            await asyncio.sleep(SOON_S)


async def _history(
    arena: Arena,
    town: Town,
    load: Load,
    fault: Fault,
    moment: Cut,
    since: int,
    shown: list[dict[str, Any]],
    waiting: list[str],
    held: dict[GuildId, list[Held]],
    backups: Backups,
) -> History:
    live = arena.live
    replays = {
        guild: await replay(
            live.bus,
            guild,
            at={one.sequence for one in (*held[guild], *backups.held[guild])},
        )
        for guild in town.ids
    }
    evidence = await gather(live.control, live.bus, town.ids, moment, since=since)
    return History(
        evidence=_of_talking(evidence, town),
        posted=load.posted,
        probe_posts=load.probes.posts,
        answers=load.probes.answers,
        asked=load.asked,
        shown=shown,
        down=_down(evidence, fault),
        edges_down={
            str(question): [*load.doors.ended[edge], *fault.outages]
            for question, edge in load.doors.posted.items()
        },
        replays=replays,
        held=held,
        guild_of_channel={
            str(channel): GuildId(str(guild.id))
            for guild in town.guilds
            for channel in guild.channels.values()
        },
        fences=arena.watched.fences(),
        silences=arena.watched.silences(),
        stopped=fault.stopped,
        unsettled=waiting,
        backups=backups,
    )


def _of_talking(evidence: Evidence, town: Town) -> Evidence:
    """Reports are owed to this round's guilds with a mod log alone."""
    own = {str(guild.id) for guild in town.talking if MOD_LOG in guild.channels}
    mod_logs = {guild: log for guild, log in evidence.mod_logs.items() if guild in own}
    return msgspec.structs.replace(evidence, mod_logs=mod_logs)


def _down(evidence: Evidence, fault: Fault) -> list[Outage]:
    return [*fault.outages, *outages(evidence.record, fault.responders_down_ms)]
