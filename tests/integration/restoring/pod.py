"""A pod as far as backups see it: its database with a guild, a replica of it in S3, the guild's
log on NATS, and somebody who answers for the guild."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import msgspec
from nats.aio.msg import Msg

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.gateway.engine.engine import Engine
from components.gateway.engine.pod_tables import BEAT, put_meta
from components.gateway.engine.schema import open_database
from components.gateway.shell.backup import Backup
from components.restoring.replay import Replay
from contracts import headers, storage, subjects
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, RequestId, Sequence
from contracts.inputs import Actor, CommandReceived, Input, OwnerOpened
from contracts.message import decode, encode
from contracts.records import Assignment
from contracts.requests import REQUEST_OF_VERB
from tests.support.nats import RunningNats
from tests.support.s3 import Store

GUILD = GuildId("700000000000000001")
OPERATOR = Actor(kind="operator", id="ops")
REPLICA = "pods/gateway-0/one-1"


class Pod:
    """Owns `GUILD`. ``begin`` it, and ``close`` it at the end."""

    def __init__(
        self, nats: RunningNats, store: Store, folder: Path, replica: str = REPLICA
    ) -> None:
        self._nats = nats
        folder.mkdir()
        self.database = open_database(folder / "pod.db")
        self.backup = Backup(store.settings, folder / "pod.db", REPLICA)
        self._running = asyncio.create_task(self.backup.run())
        self._beat = 0

    bus: Bus

    async def begin(self) -> None:
        """The guild's first input, its assignment, and an owner who answers."""
        self.bus = await self._nats.connect("gateway")
        generation = (await stream.bounds(self.bus, storage.INPUTS)).generation
        Engine(self.database).create(GUILD, generation)
        opened = OwnerOpened(
            epoch=Epoch(1),
            pod=PodId("gateway-0"),
            incarnation=Incarnation("one-1"),
            engine_version=1,
        )
        first = await self.input(opened)
        self._assignments = Bucket(await self._nats.connect("config"), storage.GUILDS)
        await self.assign(GUILD, since_ms=now_ms(), first=first)
        await self.bus.listen(subjects.requests(GUILD), self._answer)
        await self.bus.barrier()

    async def assign(
        self,
        guild: GuildId,
        *,
        since_ms: int,
        first: Sequence | None = None,
        incarnation: str = "one-1",
    ) -> None:
        """Make the pod the guild's owner, which gives it no rows."""
        assignment = Assignment(
            guild=guild,
            pod=PodId("gateway-0"),
            incarnation=Incarnation(incarnation),
            epoch=Epoch(1),
            first_sequence=first or Sequence(1),
            generation=Generation((await stream.bounds(self.bus, storage.INPUTS)).generation),
            cause="placed",
            since_ms=since_ms,
        )
        await self._assignments.put(guild, encode(assignment))

    async def unassign(self, guild: GuildId) -> None:
        """Nobody owns the guild."""
        await self._assignments.delete(guild)

    async def append(self, entry: Input, message_id: str = "") -> Sequence:
        """Put an input on the log, without applying it."""
        fields = {headers.MSG_ID: message_id or uuid4().hex}
        stored = await self.bus.append(subjects.inputs(GUILD), encode(entry), fields)
        return Sequence(stored.sequence)

    async def input(self, entry: Input) -> Sequence:
        """Put an input on the log and apply it."""
        sequence = await self.append(entry)
        await Replay(self.bus, self.database, GUILD).reach(sequence)
        return sequence

    async def settings(self, timeout_s: int) -> int:
        """Change the settings; a moment at which they are in force."""
        await self.input(settings(timeout_s))
        await asyncio.sleep(0.005)  # the log counts milliseconds
        at_ms = now_ms()
        await asyncio.sleep(0.005)
        return at_ms

    async def backed_up(self) -> None:
        """Wait until what is committed now is in the bucket."""
        self._beat += 1
        put_meta(self.database, BEAT, str(self._beat))
        self.backup.replication.noted(self._beat, Sequence(self._beat))
        async with asyncio.timeout(20):
            while self.backup.replication.backed_up_beat < self._beat:
                await asyncio.sleep(0.02)

    async def close_backup(self) -> None:
        """End the backup."""
        self._running.cancel()
        await asyncio.wait([self._running])

    async def close(self) -> None:
        """End the backup and close the database."""
        await self.close_backup()
        self.database.close()

    async def _answer(self, message: Msg) -> None:
        verb = message.subject.split(".", 3)[3]
        request = decode(message.data, REQUEST_OF_VERB[verb])
        engine = Engine(self.database)
        found = engine.read(GUILD, request, pod=PodId("gateway-0"), epoch=Epoch(1))
        await self.bus.say(message.reply, encode(found))


def opened(epoch: int) -> OwnerOpened:
    """The pod opens the guild."""
    return OwnerOpened(
        epoch=Epoch(epoch),
        pod=PodId("gateway-0"),
        incarnation=Incarnation("one-1"),
        engine_version=1,
    )


def settings(timeout_s: int) -> CommandReceived:
    """A change of the settings."""
    arguments = {
        "actor": {"kind": OPERATOR.kind, "id": OPERATOR.id},
        "settings": {"spam": {"timeout_s": timeout_s}},
    }
    return CommandReceived(
        request_id=RequestId(uuid4().hex),
        verb="settings.put",
        actor=OPERATOR,
        arguments=msgspec.Raw(msgspec.json.encode(arguments)),
    )


async def expire(nats: RunningNats, up_to: Sequence) -> None:
    """The log forgets what is before ``up_to``."""
    provisioner = await nats.connect("provisioner")
    body = msgspec.json.encode({"seq": up_to})
    await provisioner.ask(f"$JS.API.STREAM.PURGE.{storage.INPUTS}", body)


def now_ms() -> int:
    """The machine's clock, which the server's timestamps are of, too."""
    return time.time_ns() // 1_000_000
