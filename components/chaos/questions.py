"""Moderators who ask for a case twice a second, and what must have become of every question:
answered once, or deferred and then edited once, or failed visibly while its first responder was
dead."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.record import Entry
from components.traffic.guilds import MODERATOR
from components.traffic.plan import CHANNELS
from components.traffic.reading import succeeded
from contracts.interactions import CHANNEL_MESSAGE, DEFERRED_CHANNEL_MESSAGE

EVERY_S = 0.5
ANSWER_S = 3.0
"""How long Discord waits for the first response."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """From the end of the first responder until there is one again, on Discord's clock."""

    from_ms: float
    to_ms: float


async def ask_for_cases(
    control: SimulatorControl,
    guilds: Sequence[GuildInfo],
    asked: list[int],
    stop: asyncio.Event | None = None,
    before: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Ask in one guild after the other until ``stop``; every question goes into ``asked``, and
    ``before`` each of them something may be done."""
    stop = stop or asyncio.Event()
    moderators = {
        guild.id: await control.join(guild.id, username="moderator", roles=[MODERATOR])
        for guild in guilds
    }
    for guild in itertools.cycle(guilds):
        if before is not None:
            await before()
        asked.append(
            await control.command(
                guild.channels[CHANNELS[0]], moderators[guild.id], "case view", {"number": 1}
            )
        )
        try:
            async with asyncio.timeout(EVERY_S):
                await stop.wait()
        except TimeoutError:
            continue
        return


async def all_answered(control: SimulatorControl, asked: Sequence[int]) -> list[dict[str, Any]]:
    """Wait until no question is open or deferred; the caller bounds it. How all of them stand."""
    while True:
        shown = [await control.interaction(one, wait_s=ANSWER_S) for one in asked]
        if not any(one["loading"] for one in shown):
            return shown
        await asyncio.sleep(0.2)  # the edit comes from another process: there is no event for it


def outages(record: Sequence[Entry], kills_ms: Sequence[float]) -> list[Outage]:
    """The outages that the ends of a shard at these moments led to."""
    back = [
        entry.at_ms
        for entry in record
        if entry.kind == "gateway"
        and (entry.data["what"] == "resume" or entry.data["what"] == "identify")
        and entry.data["accepted"]
    ]
    return [
        Outage(from_ms=kill, to_ms=min((at for at in back if at > kill), default=float("inf")))
        for kill in kills_ms
    ]


def wrong(
    shown: Sequence[dict[str, Any]],
    record: Sequence[Entry],
    down: Sequence[Outage],
    edges_down: Mapping[str, Sequence[Outage]] | None = None,
) -> list[str]:
    """What is wrong with the answers, in words. ``edges_down``: questions that were posted to an
    edge, and when that one was down."""
    created = {
        entry.data["id"]: entry.at_ms
        for entry in record
        if entry.kind == "interaction" and entry.data["what"] == "created"
    }
    said = _said(record)
    found: list[str] = []
    for one in shown:
        name = f"interaction {one['id']}"
        begun = created[one["id"]]
        if one["failure"] is not None:
            its = (edges_down or {}).get(one["id"], down)
            if not any(d.from_ms < begun + ANSWER_S * 1000 and begun < d.to_ms for d in its):
                found.append(f"{name}: {one['failure']}, and its first responder was alive")
            if one["answer"] is not None or one["messages"]:
                found.append(f"{name}: failed and answered")
            continue
        if one["answer"] not in (CHANNEL_MESSAGE, DEFERRED_CHANNEL_MESSAGE):
            found.append(f"{name}: answer {one['answer']}")
        elif one["loading"]:
            found.append(f"{name}: deferred and never edited")
        elif len(one["messages"]) != 1:
            found.append(f"{name}: {len(one['messages'])} messages")
        elif len(said[one["token"]]) != 1 and not (_responded(one) and not said[one["token"]]):
            found.append(f"{name}: answered with different words: {said[one['token']]}")
    return found


def _responded(one: dict[str, Any]) -> bool:
    """Whether the answer was the response to Discord's own request, which the record does not
    show: then an edit in doubt, with the same words, is all that may be there."""
    return one.get("answered_over") == "http" and one["answer"] == CHANNEL_MESSAGE


def _said(record: Sequence[Entry]) -> dict[str, set[str]]:
    """Token to the contents that Discord took for it. One that is repeated in doubt, in an edit
    that changes nothing, is one."""
    said: dict[str, set[str]] = defaultdict(set)
    for entry in record:
        if entry.kind != "rest" or not succeeded(entry):
            continue
        body = entry.data.get("body") or {}
        parts = entry.data["path"].split("/")
        if parts[1] == "interactions" and body["type"] == CHANNEL_MESSAGE:
            said[parts[3]].add(_visible(body["data"]))
        elif parts[1] == "webhooks" and entry.data["method"] in ("PATCH", "POST"):
            said[parts[3]].add(_visible(body))
    return said


def _visible(message: dict[str, Any]) -> str:
    shown = {name: message.get(name) for name in ("content", "embeds", "components")}
    return msgspec.json.encode(shown, order="deterministic").decode()
