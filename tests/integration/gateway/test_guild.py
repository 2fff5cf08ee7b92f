"""One guild of a pod, by the commands it gets, with the applier's thread held where it matters."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.gateway.engine.model import Applied, LoggedInput
from components.gateway.ownership.commands import Source
from components.gateway.shell.applier import Applier
from components.gateway.shell.attempts import Tries
from components.gateway.shell.backlog import Backlog
from components.gateway.shell.building import Rows
from components.gateway.shell.departures import Departures
from components.gateway.shell.effects.lanes import Outlets
from components.gateway.shell.guild import Guild, Services
from components.gateway.shell.log_clock import LogClock
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.snapshots import Snapshots
from components.gateway.shell.tenure import Outputs
from components.gateway.shell.timers import Timers
from components.gateway.shell.turns import Turns
from contracts import storage, subjects
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.message import decode
from contracts.records import Assignment, Holder, ReplayAttempt
from tests.integration.gateway.desk import Desk
from tests.integration.gateway.town import Town, until
from tests.support.applier import Held
from tests.support.ownership import INCARNATION, POD

ELSEWHERE = Holder(pod=PodId("gateway-9"), incarnation=Incarnation("elsewhere"))
NOT_OURS = Epoch(2)
"""What is to be opened at it waits: the gate is shut."""
HERE = Holder(pod=POD, incarnation=INCARNATION)


class CountingApplier(Applier):
    """Says how many inputs it got, and has room when it is told so."""

    handed = 0
    waiting = 0

    async def start(self) -> None:
        self.has_room = asyncio.Event()
        self.has_room.set()
        await super().start()

    async def room(self, *, behind: bool = False) -> None:
        self.waiting += 1
        await self.has_room.wait()
        self.waiting -= 1
        await super().room(behind=behind)

    def apply(
        self,
        item: LoggedInput,
        done: Callable[[Applied], None],
        *,
        alone: bool = False,
        behind: bool = False,
    ) -> None:
        super().apply(item, done, alone=alone, behind=behind)
        self.handed += 1


class Heard:
    """What the guild tells of its commands."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def built(self, guild: GuildId, source: Source, replayed: int) -> None:
        self.words.append("built")

    def not_built(self, guild: GuildId, reason: str) -> None:
        self.words.append(f"not built: {reason}")

    def caught_up(self, guild: GuildId, epoch: Epoch, replayed: int) -> None:
        self.words.append("caught up")

    def compared(self, guild: GuildId, ticket: int) -> None:
        self.words.append("compared")

    def epoch_on_log(self, guild: GuildId, epoch: Epoch) -> None: ...

    def effects_ended(self, guild: GuildId, epoch: Epoch) -> None:
        self.words.append(f"effects of {epoch} ended")

    def dropped(self, guild: GuildId) -> None:
        self.words.append("dropped")


class HeldLogbook(Logbook):
    """Stops the applier, or whoever asks, at the next question for the end of the log."""

    held: Held | None = None
    hold: Applier | None = None
    hangs: asyncio.Event | None = None
    """Who asks for the end of the log gets no answer, and goes away when this is set."""

    async def last(self, guild: GuildId) -> Sequence:
        applier, self.hold = self.hold, None
        if applier is not None:
            self.held = Held(applier)
            await self.held.begun()
        hangs, self.hangs = self.hangs, None
        if hangs is not None:
            try:
                await asyncio.Event().wait()
            finally:
                await hangs.wait()
        return await super().last(guild)


class Hosted:
    """The guild of a town on a pod that does nothing else."""

    def __init__(self, desk: Desk, applier: CountingApplier, folder: Path) -> None:
        self.bus, self.applier, self.heard = desk.bus, applier, Heard()
        self.town = desk.town
        self.logbook = HeldLogbook(desk.bus, applier)
        self.tasks: set[asyncio.Task[None]] = set()
        clock = LogClock()
        snapshots = Snapshots(
            desk.bus,
            applier,
            folder / "pod.db",
            folder / "snapshots",
            Departures(desk.machine.evidence),
        )
        outputs = Outputs(
            pod=POD,
            bus=desk.bus,
            gate=desk.gate,
            applier=applier,
            outlets=Outlets(
                bus=desk.bus,
                gate=desk.gate,
                rest=desk.rest,
                applier=applier,
                spawn=self.spawn,
                wall_ms=clock,
            ),
            timers=Timers(desk.bus, desk.gate, clock),
            snapshots=snapshots,
            spawn=self.spawn,
        )
        services = Services(
            incarnation=INCARNATION,
            outputs=outputs,
            rows=Rows(applier, self.logbook, snapshots, None, HERE),
            logbook=self.logbook,
            backlog=Backlog(desk.bus, folder),
            clock=clock,
            opening=asyncio.Semaphore(4),
            promoting=Turns(4),
            tries=Tries(),
        )
        self.guild = Guild(services, self.heard, desk.town.guild)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that the test waits for at its end."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def build(self, owner: Holder, **more: Any) -> None:
        """Have the guild here, to be owned by that pod."""
        generation = (await stream.bounds(self.bus, storage.INPUTS)).generation
        self.guild.build(
            Assignment(
                guild=self.town.guild,
                pod=owner.pod,
                incarnation=owner.incarnation,
                epoch=Epoch(1),
                first_sequence=self.town.first_sequence,
                generation=Generation(generation),
                since_ms=0,
                **{"cause": "placed", **more},
            )
        )

    async def told(self, word: str) -> None:
        """Wait until the guild has said so."""

        async def said() -> bool:
            assert not [heard for heard in self.heard.words if heard.startswith("not built")]
            return word in self.heard.words

        await until(said)

    async def complete(self) -> None:
        """Wait until it is followed up to the end of its log."""
        last = await self.logbook.last(self.town.guild)

        async def is_complete() -> bool:
            return self.guild.is_complete(last, last, 0)

        await until(is_complete)

    async def waiting(self) -> None:
        """Wait until somebody waits for room in the applier."""

        async def waits() -> bool:
            return self.applier.waiting > 0

        await until(waits)

    async def handed(self, count: int) -> None:
        """Wait until the applier got so many inputs."""

        async def got() -> bool:
            return self.applier.handed >= count

        await until(got)

    async def sequence(self) -> int | None:
        """How far the rows are; None without rows."""
        guild = self.town.guild
        checkpoint = await self.applier.read(lambda engine: engine.checkpoint(guild))
        return None if checkpoint is None else checkpoint.sequence


@pytest.fixture
async def hosted(desk: Desk, tmp_path: Path) -> AsyncIterator[Hosted]:
    applier = CountingApplier(tmp_path / "pod.db")
    await applier.start()
    hosted = Hosted(desk, applier, tmp_path)
    await hosted.logbook.load()
    yield hosted
    for task in list(hosted.tasks):
        task.cancel()
    await asyncio.gather(*hosted.tasks, return_exceptions=True)
    await applier.stop()
    await applier.failed


async def turns() -> None:
    """What can go on without the applier and the bus does."""
    for _ in range(20):
        await asyncio.sleep(0)


async def post(town: Town, count: int) -> int:
    """Inputs on the guild's log; the last one's sequence."""
    for number in range(count):
        stored = await town.heard(10_000 + number, "hello", town.info.members[0].id)
    return stored.sequence


async def test_rows_are_dropped_after_what_was_taken_however_often_its_end_was_cut_short(
    hosted: Hosted,
) -> None:
    await post(hosted.town, 10)
    hosted.logbook.hold = hosted.applier
    await hosted.build(ELSEWHERE)
    await hosted.handed(11)
    hosted.guild.stop_following()
    await turns()
    await hosted.build(ELSEWHERE)  # waits for that end
    await turns()
    hosted.guild.stop_following()
    await turns()
    hosted.guild.drop()
    await turns()
    assert hosted.logbook.held is not None
    await hosted.logbook.held.end()
    await hosted.told("dropped")
    assert await hosted.sequence() is None


async def test_a_guild_is_built_anew_after_what_was_taken_before(hosted: Hosted) -> None:
    await hosted.build(ELSEWHERE)
    await hosted.told("built")
    hosted.guild.stop_following()
    await hosted.guild.ended()
    hosted.heard.words.clear()
    last = await post(hosted.town, 10)
    hosted.logbook.hold = hosted.applier
    await hosted.build(ELSEWHERE)
    await hosted.handed(11)
    hosted.guild.stop_following()
    await turns()
    await hosted.build(ELSEWHERE)
    await turns()
    hosted.guild.stop_following()
    await turns()
    await hosted.build(ELSEWHERE)
    await turns()
    assert hosted.logbook.held is not None
    await hosted.logbook.held.end()
    await hosted.told("built")
    assert await hosted.sequence() == last
    assert hosted.applier.handed == 11


async def test_rows_are_dropped_after_what_waits_for_room(hosted: Hosted) -> None:
    await hosted.build(HERE)
    await hosted.told("built")
    hosted.applier.has_room.clear()
    hosted.guild.open(Epoch(1), careful=False)
    await hosted.waiting()
    hosted.guild.stop_owning(Epoch(1))
    await hosted.build(ELSEWHERE)
    await turns()
    hosted.guild.stop_following()  # cuts short the end that the second building began with
    await turns()
    hosted.guild.drop()
    await turns()
    hosted.applier.has_room.set()
    await hosted.told("dropped")
    await turns()
    assert await hosted.sequence() is None


async def test_an_end_that_takes_long_ends_nothing_that_begins_after_it(hosted: Hosted) -> None:
    hangs = hosted.logbook.hangs = asyncio.Event()

    async def asked() -> bool:
        return hosted.logbook.hangs is None

    await hosted.build(ELSEWHERE)
    await until(asked)
    hosted.guild.stop_following()
    await turns()
    await hosted.build(ELSEWHERE)
    await turns()
    hosted.guild.stop_following()
    await turns()
    await hosted.build(ELSEWHERE)
    for _ in range(30):  # as many answers as building takes, and more
        await hosted.sequence()
        await stream.bounds(hosted.bus, storage.INPUTS)
    hangs.set()
    await hosted.told("built")
    await turns()
    assert hosted.guild.is_followed


async def test_nothing_is_applied_to_rows_that_are_dropped_while_they_are_followed(
    hosted: Hosted, bus: Bus
) -> None:
    await hosted.build(ELSEWHERE)
    await hosted.told("built")
    hosted.guild.drop()
    await hosted.told("dropped")
    came = asyncio.Event()

    async def hear(_: object) -> None:
        came.set()

    # On the same connection, so behind the guild's own subscription if it still had one.
    await hosted.bus.listen(subjects.live(hosted.town.guild), hear)
    await post(hosted.town, 1)
    await came.wait()
    await turns()
    assert await hosted.sequence() is None


async def test_what_comes_before_an_opening_is_tried_as_carefully_as_it_began(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input that killed the last owner lies between what its follower had and the opening."""
    notes: list[Sequence] = []
    replace = Bucket.replace

    async def noting(bucket: Bucket, key: str, value: bytes, *rest: Any, **named: Any) -> int:
        revision = await replace(bucket, key, value, *rest, **named)
        if bucket.name == storage.ATTEMPTS:  # a watch may miss one that the next takes the place of
            notes.append(decode(value, ReplayAttempt).sequence)
        return revision

    monkeypatch.setattr(Bucket, "replace", noting)
    await hosted.build(HERE, cause="promoted")
    await hosted.told("built")
    held = Held(hosted.applier)
    await held.begun()
    hosted.guild.keep_up()
    await hosted.handed(1)  # it waits for the first input
    deadly = Sequence(await post(hosted.town, 1))
    hosted.guild.open(Epoch(1), careful=True)

    async def appended() -> bool:
        last = await stream.last_of_subject(
            hosted.bus, storage.INPUTS, subjects.inputs(hosted.town.guild)
        )
        return last is not None and last.sequence > deadly

    await until(appended)
    await held.end()
    await hosted.told("caught up")
    assert deadly in notes


async def test_a_guild_is_followed_whose_opening_was_given_up(hosted: Hosted) -> None:
    """The follower of a guild that it was to own, and was to own again meanwhile."""
    await hosted.build(HERE)
    await hosted.told("built")
    hosted.applier.has_room.clear()
    hosted.guild.keep_up()
    await hosted.waiting()
    hosted.guild.open(NOT_OURS, careful=False)
    await turns()
    hosted.applier.has_room.set()
    await hosted.handed(1)
    await turns()
    hosted.guild.stop_owning(NOT_OURS)
    await hosted.complete()


async def test_a_follower_is_as_quick_as_before_an_opening_that_was_given_up(
    hosted: Hosted,
) -> None:
    await hosted.build(ELSEWHERE)
    await hosted.told("built")
    hosted.guild.open(NOT_OURS, careful=True)
    await turns()
    hosted.guild.stop_owning(NOT_OURS)
    await turns()
    await hosted.complete()
    last = await post(hosted.town, 1)

    async def applied() -> bool:
        return hosted.guild.applied == last

    await until(applied)
    note = await Bucket(hosted.town.operator, storage.ATTEMPTS).get(hosted.town.guild)
    assert note is None or note.value is None


async def test_the_effects_of_a_refused_guild_end_when_it_is_built_anew(hosted: Hosted) -> None:
    """The next owner waits for that, also when this pod is not to have the guild any more."""
    await hosted.build(HERE)
    await hosted.told("built")
    hosted.guild.open(Epoch(1), careful=False)
    await hosted.told("caught up")
    hosted.guild.refuse(Epoch(1), "a hole")
    await hosted.build(HERE)
    hosted.guild.stop_following()
    await hosted.told("effects of 1 ended")


async def test_rows_that_are_built_anew_are_not_complete_as_those_before_were(
    hosted: Hosted,
) -> None:
    await hosted.build(ELSEWHERE)
    await hosted.told("built")
    await hosted.complete()
    assert hosted.guild.complete_up_to > 0
    hosted.guild.drop()
    await hosted.told("dropped")
    hosted.heard.words.clear()
    await hosted.build(HERE)  # its log is read when it is opened
    await hosted.told("built")
    assert hosted.guild.is_followed
    assert hosted.guild.complete_up_to == 0
