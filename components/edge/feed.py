"""A guild's facts from EVENTS, in order, from any point on, for as long as somebody listens.

Promise: no fact is skipped and none comes twice within one `follow`, through breaks of the
connection and restarts of the server. A consumer of its own on the server is asked for the next
`BATCH` facts only after the ones before were taken, so memory is bounded and a slow listener
slows nobody else. Fails with `BusError` only before the first fact; afterwards it waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from components.bus import stream
from components.bus.connection import Bus, refusal
from components.bus.errors import BusError
from components.edge.link import Link
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence

log = logging.getLogger(__name__)

BATCH: Final = 100
QUIET_S: Final = 10.0
"""A pull ends after so long without a fact, and is made anew: the feed's heartbeat."""
GRACE_S: Final = 2.0
"""The server ends a pull in time, or it has forgotten it."""
FORGOTTEN_AFTER_S: Final = 60
"""The server removes a consumer that nobody has pulled from for so long."""
RETRY_PAUSE_S: Final = 0.2
PULL_EXPIRED: Final = "408"

_SECOND_NS: Final = 1_000_000_000


class StoredFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as it lies in EVENTS."""

    sequence: Sequence
    type: str
    headers: dict[str, str]
    data: bytes


class Feed:
    """Follows one guild's facts. Make it with `open_feed`."""

    def __init__(self, bus: Bus, link: Link, guild: GuildId, after: Sequence) -> None:
        self._bus = bus
        self._link = link
        self._guild = guild
        self._after = after

    async def facts(self) -> AsyncGenerator[StoredFact | None]:
        """The facts, for ever; None at least every few seconds while there is none."""
        while True:
            try:
                async with contextlib.aclosing(self._consume()) as consumed:
                    async for fact in consumed:
                        if fact is not None:
                            self._after = fact.sequence
                        yield fact
            except BusError as error:
                log.info("feed of guild %s interrupted: %s", self._guild, error)
                await self._link.wait(QUIET_S)
                await asyncio.sleep(RETRY_PAUSE_S)
            yield None

    async def _consume(self) -> AsyncGenerator[StoredFact | None]:
        """The facts that one consumer delivers; ends when it is gone or has skipped one."""
        inbox = self._bus.client.new_inbox()
        name = inbox.rpartition(".")[2]
        arrived: asyncio.Queue[Msg | None] = asyncio.Queue()  # the server sends at most BATCH
        subscription = await self._bus.listen(inbox, arrived.put)
        try:
            # A pull does not outlive its connection: after a reconnect a None ends this consumer.
            with self._link.watched(lambda: arrived.put_nowait(None)):
                await self._create(name)
                delivered = 0
                while True:
                    await self._pull(name, inbox)
                    for _ in range(BATCH):
                        async with asyncio.timeout(QUIET_S + GRACE_S):
                            message = await arrived.get()
                        if message is None:
                            return
                        if not message.reply:  # a status: the pull has ended
                            if (message.headers or {}).get("Status") != PULL_EXPIRED:
                                return
                            yield None
                            break
                        place = message.metadata.sequence
                        if place.consumer != delivered + 1:
                            return
                        delivered = place.consumer
                        yield _fact(message, Sequence(place.stream))
        except TimeoutError:
            log.warning("a pull of guild %s's facts did not end in time", self._guild)
        finally:
            with contextlib.suppress(BusError, NatsError):  # the server forgets it by itself
                await subscription.unsubscribe()
                await self._bus.say(f"$JS.API.CONSUMER.DELETE.{storage.EVENTS}.{name}", b"")

    async def _create(self, name: str) -> None:
        """Make the consumer. A stream that has not reached what was seen is not the one it was
        seen in: then everything is given, for nobody can say what of it is new."""
        held = await stream.bounds(self._bus, storage.EVENTS)
        start = self._after + 1 if self._after <= held.last else 1
        subject = subjects.events(self._guild)
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": start,
            "filter_subject": subject,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": FORGOTTEN_AFTER_S * _SECOND_NS,
        }
        reply = await self._bus.ask(
            f"$JS.API.CONSUMER.CREATE.{storage.EVENTS}.{name}.{subject}",
            msgspec.json.encode({"stream_name": storage.EVENTS, "config": config}),
        )
        answer: dict[str, Any] = msgspec.json.decode(reply.data)
        if error := answer.get("error"):
            raise refusal(
                subject, error["code"], error.get("err_code", 0), error.get("description", "")
            )

    async def _pull(self, name: str, inbox: str) -> None:
        await self._bus.say(
            f"$JS.API.CONSUMER.MSG.NEXT.{storage.EVENTS}.{name}",
            msgspec.json.encode({"batch": BATCH, "expires": int(QUIET_S * _SECOND_NS)}),
            reply=inbox,
        )


async def open_feed(bus: Bus, link: Link, guild: GuildId, after: Sequence | None) -> Feed:
    """A feed of the facts after a sequence, or, with None, of those that are still to come.
    Raises `BusError`."""
    held = await stream.bounds(bus, storage.EVENTS)
    return Feed(bus, link, guild, held.last if after is None else after)


def _fact(message: Msg, sequence: Sequence) -> StoredFact:
    _, event_type = subjects.guild_and_event(message.subject)
    return StoredFact(
        sequence=sequence,
        type=event_type,
        headers=dict(message.headers or {}),
        data=message.data,
    )
