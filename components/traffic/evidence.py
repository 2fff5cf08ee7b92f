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
from contracts import headers, storage, subjects
from contracts.ids import GuildId
from contracts.ids import Sequence as StreamSequence
from contracts.inputs import AnyInput
from contracts.message import decode, encode
from contracts.requests import GetGuildStatus, GuildStatus

POLL_S = 0.1

KINDS = ("message_create", "dispatch", "rest", "gateway", "interaction")


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
) -> Evidence:
    """Read everything about the guilds; what came after ``moment`` may be under way.

    ``begun``: the sequence on each log up to which facts are left out, because the simulator's
    record does not know what they led to: it was another simulator's run.
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
    record = await control.record_all(KINDS)
    return Evidence(
        guilds=tuple(guilds),
        cut=moment,
        record=tuple(record),
        inputs=tuple(inputs),
        facts=tuple(facts),
    )


async def settled(bus: Bus, guilds: Sequence[GuildId]) -> None:
    """Wait until every guild's owner says that nothing is pending: each has applied its log's
    last input, its outbox is empty, its facts are published. The caller bounds it."""
    for guild in guilds:
        while True:
            if await _is_settled(bus, guild):
                break
            await asyncio.sleep(POLL_S)  # another process's state: there is no event for it


async def _is_settled(bus: Bus, guild: GuildId) -> bool:
    last = await stream.last_of_subject(bus, storage.INPUTS, subjects.inputs(guild))
    subject = subjects.request(guild, GetGuildStatus.verb)
    try:
        reply = await bus.ask(subject, encode(GetGuildStatus()))
    except BusError:
        return False  # between two owners
    if headers.SERVICE_ERROR in (reply.headers or {}):
        return False
    status = decode(reply.data, GuildStatus)
    behind = last is not None and status.applied < last.sequence
    return not behind and status.outbox_pending == 0 and status.facts_unpublished == 0


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
    )
