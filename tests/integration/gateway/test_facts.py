"""Facts appear in EVENTS in order and exactly once, whoever dies or was replaced meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import pytest

from components.bus.connection import Bus
from components.gateway.engine.model import PendingFact
from components.gateway.shell.facts import FactPublisher
from components.gateway.shell.gate import Gate, Permit
from contracts import headers
from contracts.facts import CaseUpdated
from contracts.ids import CaseNumber, Epoch, GuildId, Sequence, UserId
from contracts.inputs import FactsPublished
from contracts.message import encode
from tests.integration.gateway.town import SPAM, Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.ownership import acting

GUILD = GuildId("123456789012345678")


def fact(sequence: int, index: int = 0) -> PendingFact:
    data = CaseUpdated(number=CaseNumber(1), user=UserId("5"), action="kick", status="done")
    return PendingFact(
        guild=GUILD,
        sequence=Sequence(sequence),
        index=index,
        type="case.updated",
        data=encode(data),
        time_ms=1_700_000_000_000,
        subject="5",
        traceparent="",
    )


class Publishing:
    """Publishers of one guild over real connections."""

    def __init__(self, nats: RunningNats, operator: Bus, town: Town) -> None:
        self.nats = nats
        self.newer: list[Epoch] = []
        self._town = town
        self._tasks: list[asyncio.Task[None]] = []
        self._made: list[FactPublisher] = []
        town.guild = GUILD

    async def owner(self, epoch: int) -> FactPublisher:
        bus = await self.nats.connect("gateway")
        gate = Gate(bus, acting(GUILD, epoch, bus.link))

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            task = asyncio.create_task(work)
            self._tasks.append(task)
            return task

        made = FactPublisher(
            bus,
            gate,
            Permit(GUILD, Epoch(epoch)),
            spawn=spawn,
            on_newer=self.newer.append,
        )
        self._made.append(made)
        return made

    async def places(self, count: int) -> list[tuple[int, int]]:
        """Wait until there are as many facts; their places in the log."""

        async def there() -> list[tuple[int, int]] | None:
            found = [
                (
                    int(message.headers[headers.INPUT_SEQUENCE]),
                    int(message.headers[headers.INPUT_INDEX]),
                )
                for message in await self._town.facts()
            ]
            return found if len(found) >= count else None

        found: list[tuple[int, int]] = await until(there)
        return found

    async def close(self) -> None:
        for made in self._made:
            await made.close()
        for task in self._tasks:
            await task


@pytest.fixture
async def publishing(nats_server: RunningNats, town: Town) -> AsyncIterator[Publishing]:
    made = Publishing(nats_server, town.operator, town)
    yield made
    await made.close()


async def test_facts_are_published_in_order(publishing: Publishing) -> None:
    owner = await publishing.owner(1)
    owner.add([fact(1), fact(1, 1), fact(2)])
    owner.add([fact(5)])
    assert await publishing.places(4) == [(1, 0), (1, 1), (2, 0), (5, 0)]


async def test_a_next_owner_publishes_only_what_is_missing(publishing: Publishing) -> None:
    (await publishing.owner(1)).add([fact(1), fact(2)])
    await publishing.places(2)
    (await publishing.owner(2)).add([fact(1), fact(2), fact(3)])
    assert await publishing.places(3) == [(1, 0), (2, 0), (3, 0)]


async def test_two_owners_at_once_double_nothing(publishing: Publishing) -> None:
    facts = [fact(number) for number in range(1, 40)]
    old, new = await publishing.owner(1), await publishing.owner(2)
    old.add(facts)
    new.add(facts)
    await publishing.places(39)
    await new.close()
    await old.close()
    assert await publishing.places(39) == [(number, 0) for number in range(1, 40)]


async def test_step_3_an_owner_whose_fact_a_newer_epoch_refuses_stops(
    publishing: Publishing,
) -> None:
    (await publishing.owner(2)).add([fact(1)])
    await publishing.places(1)
    (await publishing.owner(1)).add([fact(1), fact(2)])

    async def told() -> bool:
        return publishing.newer == [2]

    await until(told)
    assert await publishing.places(1) == [(1, 0)]


async def test_publishing_goes_on_when_all_earlier_facts_have_expired(
    publishing: Publishing, nats_server: RunningNats
) -> None:
    owner = await publishing.owner(1)
    owner.add([fact(1)])
    await publishing.places(1)
    provisioner = await nats_server.connect("provisioner")
    await provisioner.ask("$JS.API.STREAM.PURGE.EVENTS", b"{}")
    owner.add([fact(2)])
    assert await publishing.places(1) == [(2, 0)]


async def test_facts_survive_a_pod_that_is_killed_before_and_after_publishing(
    town: Town, pods: Pods
) -> None:
    pod = await pods.start()
    for member in town.info.members:
        await town.assign(pod.name, pod.incarnation)
        await town.served()
        await town.say(SPAM, member.id)
        await pod.kill()
        await pod.start()
    await town.assign(pod.name, pod.incarnation)

    async def published() -> bool:
        status = await town.served()
        return status.cases > 0 and status.facts_unpublished == 0 and status.outbox_pending == 0

    await until(published)
    facts = await town.facts()
    places = [
        (int(m.headers[headers.INPUT_SEQUENCE]), int(m.headers[headers.INPUT_INDEX])) for m in facts
    ]
    assert places == sorted(set(places))
    flagged = [m for m in facts if m.headers[headers.CE_TYPE] == "modbot.message.flagged.v1"]
    assert len(flagged) == 3
    assert all(SPAM not in m.data.decode() for m in facts)
    marks = [item for item in await town.inputs() if isinstance(item, FactsPublished)]
    assert (marks[-1].sequence, marks[-1].index) == places[-1]
    assert msgspec.json.decode(facts[0].data)
