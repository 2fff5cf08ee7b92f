"""Drives the pod's state machine: hands it what the pod sees, carries out what it asks for.

Nothing is decided here. `Ownership` tells `PodMachine` of entries in the buckets (`sights`), of
renewals, of the connection and of what became of commands, each with the time, and dispatches
the commands that come back to guilds (`guild.Guild`), to the lease (`pod.Pod`) and to the bucket
``handoffs``. `ended` fails with `LeaseLost` when the pod must end.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import msgspec

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.errors import BusError, WrongLastSequence
from components.bus.leases import LeaseLost
from components.gateway.ownership import commands as ask
from components.gateway.ownership.commands import Command, Source
from components.gateway.ownership.pod import PodMachine
from components.gateway.shell.gate import Gate
from components.gateway.shell.guild import Guild, Services
from components.gateway.shell.handoffs import Handoffs
from components.gateway.shell.pod import Pod
from components.process.clock import SteadyClock, steady_s, wall_ms
from contracts import storage
from contracts.ids import Epoch, GuildId, PodId, Sequence, is_snowflake
from contracts.message import MalformedMessage, decode, encode
from contracts.records import Assignment, Holding

log = logging.getLogger(__name__)

READ_AGAIN_S: Final = 0.2
SHORTEST_WAIT_S: Final = 0.005
TELL_AFTER_S: Final = 0.2
TELL_OF: Final = 5
MOST_PARKED: Final = 100
MOST_REFUSED: Final = 20
MOST_WORDS: Final = 200
"""Told with the lease, which is written every second."""
GUILDS_STREAM: Final = f"KV_{storage.GUILDS}"


class Ownership:
    """The guilds of this pod."""

    def __init__(
        self,
        services: Services,
        machine: PodMachine,
        gate: Gate,
        pod: Pod,
        handoffs: Handoffs,
        clock: SteadyClock = steady_s,
    ) -> None:
        self.machine = machine
        self.guilds: dict[GuildId, Guild] = {}
        """Every guild that this pod has to do with."""
        self.on_renewed: Callable[[], None] = lambda: None
        self.compare_soon: Callable[[], None] = lambda: None
        """Guilds wait for a comparison with the end of their log (`Guild.ticket`)."""
        self.compare_all: Callable[[], None] = lambda: None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._services = services
        self._out = services.outputs
        self._gate = gate
        self._pod = pod
        self._handoffs = handoffs
        self._clock = clock
        self._bucket = Bucket(self._out.bus, storage.GUILDS)
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        self._told: dict[str, list[str]] = {}
        self._refused: dict[GuildId, str] = {}

    @property
    def followed(self) -> set[GuildId]:
        """All guilds whose log is being applied here."""
        return {guild for guild, held in self.guilds.items() if held.is_followed}

    @property
    def open_count(self) -> int:
        """Guilds that are ours, caught up and served."""
        return sum(1 for guild in self.guilds.values() if guild.is_open)

    @property
    def parked(self) -> dict[GuildId, Sequence]:
        """Guilds that wait at an input for an operator: the first `MOST_PARKED` of them."""
        waiting = (
            (guild, held.parked_at)
            for guild, held in self.guilds.items()
            if held.parked_at is not None
        )
        return dict(islice(waiting, MOST_PARKED))

    @property
    def refused(self) -> dict[GuildId, str]:
        """Guilds of ours that cannot be served, and why: the first `MOST_REFUSED` of them."""
        waiting = (
            (guild, reason)
            for guild, reason in self._refused.items()
            if (known := self.machine.guilds.get(guild)) is not None and known.named == "own"
        )
        return dict(islice(waiting, MOST_REFUSED))

    async def run(self) -> None:
        """Do what time asks for, until cancelled."""
        self.do(self.machine.connected(self._out.bus.link, self._clock()))
        while True:
            self._woken.clear()
            now_s = self._clock()
            self._carry_out(self.machine.tick(now_s))
            wait_s = self.machine.wake_at_s(now_s) - self._clock()
            try:
                async with asyncio.timeout(max(SHORTEST_WAIT_S, wait_s)):
                    await self._woken.wait()
            except TimeoutError:
                continue
            # An event is answered in `do`; what time asks for is looked at once for several.
            await asyncio.sleep(SHORTEST_WAIT_S)

    def do(self, commands: Iterable[Command]) -> None:
        """Carry out what an event led to."""
        self._carry_out(commands)
        self._woken.set()

    def now_s(self) -> float:
        """The time, as the machine is told it."""
        return self._clock()

    async def connected(self) -> None:
        """The connection stands again."""
        self.do(self.machine.connected(self._out.bus.link, self._clock()))

    async def disconnected(self) -> None:
        """The connection is gone."""
        self.do(self.machine.disconnected(self._clock()))

    def assignment_seen(self, key: str, value: bytes | None, revision: int) -> None:
        """An entry of bucket ``guilds``, from a watch or a read."""
        if is_snowflake(key):
            assignment = _assignment(GuildId(key), value)
            self._see(GuildId(key), assignment, revision)

    async def stop(self) -> None:
        """Let go of every guild; returns when others have been told and nothing is under way."""
        self.do(self.machine.stop(self._clock()))
        while not self.machine.done:
            self._changed.clear()
            await self._changed.wait()
        for guild in list(self.guilds.values()):
            await guild.ended()
            await guild.left()

    async def changed(self, *, within_s: float) -> None:
        """Wait until anything has changed, or so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def renew_soon(self) -> None:
        """What the lease says has changed."""
        self.do(self.machine.renew_soon(self._clock()))

    # What became of commands (`guild.Listener`)

    def built(self, guild: GuildId, source: Source, replayed: int) -> None:
        """`Build` is done."""
        self._refused.pop(guild, None)
        self.do(self.machine.built(guild, source, replayed, self._clock()))

    def not_built(self, guild: GuildId, reason: str) -> None:
        """The log does not continue the rows."""
        self._refused[guild] = reason[:MOST_WORDS]
        self.do(self.machine.not_built(guild, reason, self._clock()))

    def caught_up(self, guild: GuildId, epoch: Epoch, replayed: int) -> None:
        """`AppendOpened` is done."""
        self._refused.pop(guild, None)
        self.do(self.machine.caught_up(guild, epoch, replayed, self._clock()))

    def compared(self, guild: GuildId, ticket: int) -> None:
        """`CompareEnd` is done."""
        if (held := self.guilds.get(guild)) is not None and held.ticket == ticket:
            held.ticket = 0
        self.do(self.machine.compared(guild, ticket, self._clock()))

    def epoch_on_log(self, guild: GuildId, epoch: Epoch) -> None:
        """An epoch was met on the log or among the facts."""
        self.do(self.machine.epoch_on_log(guild, epoch, self._clock()))

    def effects_ended(self, guild: GuildId, epoch: Epoch) -> None:
        """`StopOwning` is done to its end."""
        self.do(self.machine.effects_ended(guild, epoch, self._clock()))

    def dropped(self, guild: GuildId) -> None:
        """`DropRows` is done."""
        self._refused.pop(guild, None)
        self.do(self.machine.dropped(guild, self._clock()))
        if guild not in self.machine.guilds:
            self.guilds.pop(guild, None)

    # Carrying out

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, ask.GuildCommand):
                self._for_guild(command)
            elif isinstance(command, ask.Renew):
                self._out.spawn(self._renew())
            elif isinstance(command, ask.ReadAssignments):
                self._out.spawn(self._read(command.link))
            elif isinstance(command, ask.EndProcess) and not self.ended.done():
                self.ended.set_exception(LeaseLost(command.reason))
        self._gate.look()
        self._changed.set()

    def _tell(self, what: str, guild: GuildId, epoch: Epoch) -> None:
        """Log it with others of its kind: a takeover of hundreds has no time for as many lines."""
        if not self._told:
            asyncio.get_running_loop().call_later(TELL_AFTER_S, self._log)
        self._told.setdefault(what, []).append(f"{guild} ({epoch})")

    def _log(self) -> None:
        told, self._told = self._told, {}
        for what, guilds in told.items():
            some = ", ".join(guilds[:TELL_OF])
            more = f" and {len(guilds) - TELL_OF} more" if len(guilds) > TELL_OF else ""
            log.info("%s guild (at epoch) %s%s", what, some, more)

    def _for_guild(self, command: ask.GuildCommand) -> None:
        guild = self._guild(command.guild)
        match command:
            case ask.Build():
                guild.build(command.assignment)
            case ask.StopFollowing():
                guild.stop_following()
            case ask.AwaitRequests():
                guild.await_requests()
            case ask.TurnAway():
                guild.turn_away()
            case ask.AppendOpened():
                guild.open(command.epoch, careful=command.careful)
            case ask.Serve():
                guild.serve()
                self._tell("opened", guild.id, command.epoch)
            case ask.Refuse():
                guild.refuse(command.epoch, command.reason)
            case ask.CompareEnd():
                guild.ticket = command.ticket
                self.compare_soon()
            case ask.OpenEffects():
                if guild.tenure is not None:
                    guild.tenure.lanes.release()
            case ask.HoldEffects():
                if guild.tenure is not None:
                    guild.tenure.lanes.hold()
            case ask.StopOwning():
                guild.stop_owning(command.epoch)
                self._tell("let go of", guild.id, command.epoch)
            case ask.WriteReleased():
                self._out.spawn(self._release(guild, command.epoch, command.to))
            case ask.WriteSilent():
                self._out.spawn(self._silence(guild, command.epoch))
            case ask.WriteHolds():
                if command.role == "follow":
                    guild.keep_up()
                self._hold(guild, command)
            case ask.ConfirmDrop():
                self._out.spawn(self._confirm_drop(guild))
            case ask.DropRows():
                guild.drop()
            case ask.Readopt():
                self._out.spawn(self._readopt(command))

    def _guild(self, guild: GuildId) -> Guild:
        held = self.guilds.get(guild)
        if held is None:
            held = self.guilds[guild] = Guild(self._services, self, guild)
            machine = self.machine.guilds.get(guild)
            held.assignment = machine.assignment if machine is not None else None
        return held

    def _see(self, guild: GuildId, assignment: Assignment | None, revision: int) -> None:
        commands = self.machine.assignment_seen(guild, assignment, revision, self._clock())
        machine, held = self.machine.guilds.get(guild), self.guilds.get(guild)
        if machine is not None and held is not None and machine.assignment is not None:
            held.assignment = machine.assignment
        self.do(commands)
        if machine is None and held is not None:
            del self.guilds[guild]

    async def _renew(self) -> None:
        link = self._out.bus.link
        try:
            await self._pod.renew()
        except LeaseLost as lost:
            self.do(self.machine.lease_lost(str(lost), self._clock()))
        except (BusError, TimeoutError) as error:
            log.warning("renewal failed, trying again: %s", error or type(error).__name__)
            self.do(self.machine.renewal_failed(link, self._clock()))
        else:
            self.on_renewed()
            sent_s = self._pod.lease.renewed_at_s
            self.do(self.machine.renewed(sent_s, link, self._clock()))
            await self._look_at_end()

    async def _look_at_end(self) -> None:
        """The bucket's end tells whether the watch of assignments is behind."""
        try:
            end = await stream.bounds(self._out.bus, GUILDS_STREAM)
        except BusError as error:
            log.info("the end of the assignments is not known: %s", error)
        else:
            self.do(self.machine.bucket_end(end.last, self._clock()))

    async def _read(self, link: int) -> None:
        try:
            entries, end = await self._bucket.snapshot_to()
        except BusError as error:
            log.warning("assignments not read yet: %s", error)
            await asyncio.sleep(READ_AGAIN_S)
            self.do(self.machine.not_read(link))
            return
        found = {
            GuildId(key): (_assignment(GuildId(key), entry.value), entry.revision)
            for key, entry in entries.items()
            if is_snowflake(key)
        }
        self.do(self.machine.assignments_read(link, found, self._clock(), end=end))
        for guild, machine in self.machine.guilds.items():
            if (held := self.guilds.get(guild)) is not None and machine.assignment is not None:
                held.assignment = machine.assignment
        self.compare_all()

    async def _release(self, guild: Guild, epoch: Epoch, to: PodId | None) -> None:
        await self._handoffs.release(guild.id, epoch, guild.applied, to=to)
        self.do(self.machine.released_written(guild.id, epoch, self._clock()))

    async def _silence(self, guild: Guild, epoch: Epoch) -> None:
        await self._handoffs.silence(guild.id, epoch)
        self.do(self.machine.silent_written(guild.id, epoch, self._clock()))

    def _hold(self, guild: Guild, command: ask.WriteHolds) -> None:
        me = self.machine.me
        holding = Holding(
            guild=guild.id,
            pod=me.pod,
            incarnation=me.incarnation,
            data=me.data,
            role=command.role,
            epoch=command.epoch,
            sequence=guild.applied,
            beat=self._services.logbook.next_beat,
            source=command.source,
            took_ms=command.took_ms,
            replayed=command.replayed,
            joined_ms=command.joined_ms,
        )
        self._handoffs.hold(holding, soon=command.soon)

    async def _confirm_drop(self, guild: Guild) -> None:
        while True:
            machine = self.machine.guilds.get(guild.id)
            if machine is None or machine.phase != "kept":
                return  # asked for again meanwhile: what is reported of it from now on stays
            try:
                await self._handoffs.forget(guild.id)
                entry = await self._bucket.get(guild.id)
            except BusError as error:
                log.info("rows of guild %s are dropped later: %s", guild.id, error)
                await asyncio.sleep(READ_AGAIN_S)
            else:
                break
        assignment = _assignment(guild.id, entry.value) if entry is not None else None
        revision = entry.revision if entry is not None else 0
        now_s = self._clock()
        self.do(self.machine.drop_confirmed(guild.id, assignment, revision, now_s))

    async def _readopt(self, command: ask.Readopt) -> None:
        assignment = msgspec.structs.replace(command.assignment, since_ms=wall_ms())
        try:
            revision = await self._bucket.replace(
                command.guild, encode(assignment), command.revision
            )
        except WrongLastSequence:
            return  # a leader is back, and was faster
        except BusError as error:
            log.info("guild %s is not taken back yet: %s", command.guild, error)
            # If it was written after all, the watch shows it, and the next try is refused.
            self.machine.readopt_failed(command.guild, command.revision)
            return
        log.info(
            "guild %s is taken back at epoch %s: there is no config leader",
            command.guild,
            assignment.epoch,
        )
        self._see(command.guild, assignment, revision)


def _assignment(guild: GuildId, value: bytes | None) -> Assignment | None:
    if value is None:
        return None
    try:
        found = decode(value, Assignment)
    except MalformedMessage as error:
        log.error(  # noqa: TRY400 the words say all
            "assignment of guild %s is not readable: %s", guild, error
        )
        return None
    return found if found.guild == guild else None
