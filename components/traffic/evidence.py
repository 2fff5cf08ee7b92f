"""Gathers what happened from those who cannot be wrong about it: the simulator's record of the
socket and of REST, the guilds' logs in INPUTS, the facts in EVENTS.

Reads only; raises the bus's and the simulator's errors as they are.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.simulator.client import SimulatorControl
from components.simulator.record import Entry
from components.traffic.guilds import MOD_LOG
from contracts import headers, storage, subjects
from contracts.ids import GuildId
from contracts.ids import Sequence as StreamSequence
from contracts.inputs import AnyInput
from contracts.message import decode, encode
from contracts.requests import GetGuildStatus, GuildStatus

POLL_S = 0.1

KINDS = (
    "message_create",
    "message_delete",
    "dispatch",
    "rest",
    "gateway",
    "interaction",
    "violation",
)


class LoggedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An input as it lies on a guild's log."""

    guild: GuildId
    sequence: int
    stored_ms: int
    message_id: str
    traceparent: str
    body: AnyInput


class PublishedFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as it lies in EVENTS."""

    guild: GuildId
    stream_sequence: int
    input_sequence: int
    index: int
    id: str
    type: str
    data: bytes
    epoch: int = 0
    """Of the owner that published it."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """A moment: what happened before it must be complete, what came after may be under way."""

    record: int
    """The record's last number."""
    inputs: dict[GuildId, int]
    """The last sequence on each guild's log."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about the guilds."""

    guilds: tuple[GuildId, ...]
    cut: Cut
    record: tuple[Entry, ...]
    inputs: tuple[LoggedItem, ...]
    facts: tuple[PublishedFact, ...]
    mod_logs: dict[GuildId, str]
    """The channel that takes reports, of guilds that have one."""


async def cut(control: SimulatorControl, bus: Bus, guilds: Sequence[GuildId]) -> Cut:
    """This moment."""
    record = (await control.record(limit=1)).last
    inputs: dict[GuildId, int] = {}
    for guild in guilds:
        last = await stream.last_of_subject(bus, storage.INPUTS, subjects.inputs(guild))
        inputs[guild] = last.sequence if last is not None else 0
    return Cut(record=record, inputs=inputs)


async def gather(
    control: SimulatorControl,
    bus: Bus,
    guilds: Sequence[GuildId],
    moment: Cut,
    *,
    begun: Mapping[GuildId, int] | None = None,
    since: int = 0,
) -> Evidence:
    """Read everything about the guilds; what came after ``moment`` may be under way.

    ``begun``: the sequence on each log up to which facts are left out, because the simulator's
    record does not know what they led to: it was another simulator's run. ``since``: the entry
    of the record after which it is read, for guilds that did not exist before.
    """
    inputs: list[LoggedItem] = []
    facts: list[PublishedFact] = []
    for guild in guilds:
        logged = await _all(bus, storage.INPUTS, subjects.inputs(guild))
        inputs += [_item(guild, message) for message in logged]
        published = await _all(bus, storage.EVENTS, subjects.events(guild))
        told = (_fact(guild, message) for message in published)
        before = (begun or {}).get(guild, 0)
        facts += [fact for fact in told if fact.input_sequence > before]
    record = await control.record_all(KINDS, since)
    mod_logs = {
        GuildId(str(guild.id)): str(guild.channels[MOD_LOG])
        for guild in await control.guilds()
        if MOD_LOG in guild.channels  # `guilds.settings_for` names it to the owner
    }
    return Evidence(
        guilds=tuple(guilds),
        cut=moment,
        record=tuple(record),
        inputs=tuple(inputs),
        facts=tuple(facts),
        mod_logs=mod_logs,
    )


async def settled(bus: Bus, guilds: Sequence[GuildId]) -> None:
    """Wait until nothing is `unsettled`. The caller bounds it, and asks `unsettled` why."""
    for guild in guilds:
        while True:
            if not await unsettled(bus, [guild]):
                break
            await asyncio.sleep(POLL_S)  # another process's state: there is no event for it


async def unsettled(bus: Bus, guilds: Sequence[GuildId]) -> list[str]:
    """In words, what the guilds' owners still have to do: inputs to apply, effects in the outbox
    (also parked ones, which wait for a human), facts to publish. Empty means nothing."""
    answers = await asyncio.gather(*(_unsettled(bus, guild) for guild in guilds))
    return [f"guild {guild}: {what}" for guild, what in zip(guilds, answers, strict=True) if what]


async def _unsettled(bus: Bus, guild: GuildId) -> str:
    last = await stream.last_of_subject(bus, storage.INPUTS, subjects.inputs(guild))
    subject = subjects.request(guild, GetGuildStatus.verb)
    try:
        reply = await bus.ask(subject, encode(GetGuildStatus()))
    except BusError as error:
        return str(error) or type(error).__name__  # between two owners
    if words := (reply.headers or {}).get(headers.SERVICE_ERROR):
        return words
    status = decode(reply.data, GuildStatus)
    waiting = {
        "inputs": max(0, (last.sequence if last is not None else 0) - status.applied),
        "effects pending": status.outbox_pending,
        "effects parked": status.outbox_parked,
        "facts unpublished": status.facts_unpublished,
    }
    return ", ".join(f"{count} {what}" for what, count in waiting.items() if count)


async def _all(bus: Bus, name: str, subject: str) -> list[stream.StoredMessage]:
    found: list[stream.StoredMessage] = []
    start = StreamSequence(1)
    while True:
        page = await stream.read_batch(bus, name, subject, start, timeout_s=30)
        if not page:
            return found
        found += page
        start = StreamSequence(page[-1].sequence + 1)


def _item(guild: GuildId, message: stream.StoredMessage) -> LoggedItem:
    body: AnyInput = decode(message.data, AnyInput)  # type: ignore[arg-type]
    return LoggedItem(
        guild=guild,
        sequence=message.sequence,
        stored_ms=message.stored_ms,
        message_id=message.headers.get(headers.MSG_ID, ""),
        traceparent=message.headers.get(headers.TRACEPARENT, ""),
        body=body,
    )


def _fact(guild: GuildId, message: stream.StoredMessage) -> PublishedFact:
    return PublishedFact(
        guild=guild,
        stream_sequence=message.sequence,
        input_sequence=int(message.headers[headers.INPUT_SEQUENCE]),
        index=int(message.headers[headers.INPUT_INDEX]),
        id=message.headers[headers.CE_ID],
        type=subjects.guild_and_event(message.subject)[1],
        data=message.data,
        epoch=int(message.headers.get(headers.EPOCH, "0")),
    )
