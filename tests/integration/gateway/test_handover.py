"""Owners and followers: real pods on a real bus; the test writes the assignments as config does.

Steps in names are those of docs/decisions/0006-ownership.md.
"""

import asyncio
from typing import Any

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, NoOwner
from components.gateway.shell.loads import rows_of
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import Epoch, Incarnation, PodId
from contracts.message import decode, encode
from contracts.records import (
    Assignment,
    EarlierOwner,
    Holder,
    Holding,
    Joining,
    PodLease,
    Released,
    Silent,
    StateSource,
)
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.town import SPAM, PodProcess, Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.replay import dump_of_pod, replay

LONG = {"MODBOT_GATEWAY_LEASE_TTL_S": "60"}
"""A lease that outlasts every wait of a test: what goes on has not waited for its end."""


def holder(pod: PodProcess) -> Holder:
    """The pod's present start."""
    return Holder(pod=PodId(pod.name), incarnation=Incarnation(pod.incarnation))


def earlier(pod: PodProcess, epoch: int) -> EarlierOwner:
    """The pod as the owner of an epoch."""
    return EarlierOwner(
        pod=PodId(pod.name), incarnation=Incarnation(pod.incarnation), epoch=Epoch(epoch)
    )


async def holding(town: Town, pod: PodProcess, role: str = "follow") -> Holding:
    """Wait until the pod reports that it has the guild's rows."""
    bucket = Bucket(town.operator, storage.HANDOFFS)

    async def reported() -> Holding | None:
        entry = await bucket.get(f"holds.{town.guild}.{pod.name}")
        if entry is None or entry.value is None:
            return None
        found = decode(entry.value, Holding)
        return found if (found.incarnation, found.role) == (pod.incarnation, role) else None

    found: Holding = await until(reported)
    return found


async def pair(town: Town, pods: Pods, **settings: str) -> tuple[PodProcess, PodProcess]:
    """An owner and its follower."""
    first, second = pods.make("gateway-0", **settings), pods.make("gateway-1", **settings)
    await asyncio.gather(first.start(), second.start())
    await town.assign(first.name, first.incarnation, follower=holder(second))
    await town.served()
    await holding(town, second)
    return first, second


async def word(town: Town, key: str, kind: type[Any]) -> Any:
    """Wait for an owner's word in bucket ``handoffs`` at the epoch before the present one."""
    bucket = Bucket(town.operator, storage.HANDOFFS)

    async def written() -> Any:
        entry = await bucket.get(f"{key}.{town.guild}")
        found = decode(entry.value, kind) if entry is not None and entry.value else None
        return found if found is not None and found.epoch == town.epoch - 1 else None

    return await until(written)


async def settled(town: Town) -> bool:
    """Every effect so far has its result."""
    status = await town.served()
    return status.cases > 0 and status.outbox_pending == 0


async def fence(town: Town, pod: PodProcess) -> None:
    """Overwrite the pod's lease as the leader does."""
    bucket = Bucket(town.config, storage.PODS)
    entry = await bucket.get(pod.name)
    assert entry is not None
    assert entry.value is not None
    lease = msgspec.structs.replace(decode(entry.value, PodLease), state="fenced")
    await bucket.replace(pod.name, encode(lease), entry.revision)


async def test_step_18_a_follower_equals_its_owner_byte_for_byte_at_the_same_sequence(
    town: Town, pods: Pods
) -> None:
    first, second = await pair(town, pods)
    await town.put_settings("one", mod_log_channel=str(town.info.channels["mod-log"]))
    talker, *spammers = (member.id for member in town.info.members)
    for number in range(40):
        await town.say(f"message {number}", talker)
        if number % 20 == 10:
            await town.say(SPAM, spammers.pop())
    await until(lambda: settled(town))
    assert await town.rest("DELETE", "/messages/")
    # Both end at the same sequence: neither owns the guild any more, so nothing is appended.
    await town.assign("nobody", "x-1", follower=holder(second), sources=[source_of(first)])
    await word(town, "silent", Silent)
    await end_equal(town, first, second)  # what the owner appended last is still on its way
    await asyncio.gather(first.stop(), second.stop())
    replayed = await replay(town.operator, town.guild)
    assert dump_of_pod(first.data, town.guild) == replayed.dump
    assert dump_of_pod(second.data, town.guild) == replayed.dump


def source_of(pod: PodProcess) -> StateSource:
    """The pod's rows, as they lie on its disk."""
    identity = (pod.data / "identity").read_text(encoding="ascii").strip()
    return StateSource(pod=PodId(pod.name), incarnation=Incarnation(pod.incarnation), data=identity)


async def test_a_pod_that_waited_to_own_a_guild_and_was_made_its_follower_follows_it(
    town: Town, pods: Pods
) -> None:
    """It stayed at the sequence at which it had been built: an owner's log is read when it opens,
    which never came, and what came live waited for that."""
    first, second = pods.make("gateway-0", **LONG), pods.make("gateway-1", **LONG)
    await asyncio.gather(first.start(), second.start())
    away = EarlierOwner(pod=PodId("gateway-9"), incarnation=Incarnation("x-1"), epoch=Epoch(1))
    await town.assign(first.name, first.incarnation, epoch=2, before=[away])

    async def is_awaited() -> bool:
        try:
            await town.status()
        except NoOwner:
            return False
        except BusError:
            return True  # it is built, and waits for a word of the owner before it
        raise AssertionError("opened without a proof")

    await until(is_awaited)
    await town.assign(second.name, second.incarnation, follower=holder(first))
    await town.served()
    await town.say("hello")
    await end_equal(town, second, first)


async def test_a_pod_that_owned_guilds_for_a_moment_follows_them(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats, pods: Pods
) -> None:
    """Whatever it was doing at that moment."""
    towns = await make_towns(8, discord, control, nats_server)
    first, second = pods.make("gateway-0", **LONG), pods.make("gateway-1", **LONG)
    await asyncio.gather(first.start(), second.start())
    for number, town in enumerate(towns):
        await town.assign(first.name, first.incarnation)
        await asyncio.sleep(0.005 * number)  # moments of its work: input, nothing waits for them
        await town.assign(
            second.name,
            second.incarnation,
            follower=holder(first),
            before=[earlier(first, town.epoch)],
        )
    for town in towns:
        await town.served()
        await town.say("hello")
        await end_equal(town, second, first)


async def end_equal(town: Town, *pods: PodProcess) -> None:
    """Wait until the pods' rows of the guild are those of its whole log."""

    async def equal() -> bool:
        replayed = await replay(town.operator, town.guild)
        return all(dump_of_pod(pod.data, town.guild) == replayed.dump for pod in pods)

    await until(equal)


async def test_step_18_a_follower_answers_and_sends_nothing(town: Town, pods: Pods) -> None:
    first, _ = await pair(town, pods)
    spam = await town.say(SPAM)
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1
    facts = await town.facts()
    assert len({fact.headers["Nats-Msg-Id"] for fact in facts}) == len(facts)
    await first.kill()
    try:
        await town.status()
    except BusError:
        return
    raise AssertionError("a follower has answered")


async def test_step_11_a_follower_answers_before_its_killed_owner_is_known_to_be_silent(
    town: Town, pods: Pods
) -> None:
    first, second = await pair(town, pods, MODBOT_GATEWAY_PROCESS="the-process", **LONG)
    await first.kill()
    spam = await town.say(SPAM)
    before = [earlier(first, town.epoch)]
    await town.assign(second.name, second.incarnation, cause="promoted", before=before)
    await asyncio.sleep(0.2)  # nothing proves that the owner has let go
    try:
        await town.status()
        raise AssertionError("opened without a proof")
    except BusError:
        await fence(town, first)
    status = await town.served()
    assert status.pod == second.name
    assert (await holding(town, second, "own")).epoch == town.epoch
    assert await town.rest("DELETE", f"/messages/{spam}") == []
    assert (await town.status()).outbox_pending > 0
    await pods.attest(first.name, "the-process")
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1


async def test_step_7_an_attested_end_opens_effects_at_once(town: Town, pods: Pods) -> None:
    first, second = await pair(town, pods, MODBOT_GATEWAY_PROCESS="the-process", **LONG)
    await first.kill()
    spam = await town.say(SPAM)
    await town.assign(
        second.name, second.incarnation, cause="promoted", before=[earlier(first, town.epoch)]
    )
    await pods.attest(first.name, "the-process")
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1


async def test_step_13_to_16_a_guild_moves_under_requests_and_none_is_refused(
    town: Town, pods: Pods
) -> None:
    first, second = await pair(town, pods, **LONG)
    spammers = [member.id for member in town.info.members]
    asked = asyncio.create_task(_ask_until(town))
    for number in range(6):
        one, other = (first, second) if number % 2 == 0 else (second, first)
        if number % 2 == 0:
            await town.say(SPAM, spammers.pop())
        await town.assign(
            other.name,
            other.incarnation,
            cause="moved",
            before=[earlier(one, town.epoch)],
            follower=holder(one),
        )
        await town.served()
        assert (await word(town, "released", Released)).pod == one.name
        assert (await word(town, "silent", Silent)).incarnation == one.incarnation
        await holding(town, one)
    await until(lambda: settled(town))
    asked.cancel()
    pauses = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(pauses[0], asyncio.CancelledError)
    deletes = await town.rest("DELETE", "/messages/")
    assert len({entry.data["path"] for entry in deletes}) == len(deletes) == 3
    assert {entry.data["status"] for entry in deletes} == {204}


async def _ask_until(town: Town) -> None:
    """Read and write all the time, as the edge does: what moved is asked again."""
    number = 0
    while True:
        number += 1
        name = f"write-{number}"
        deadline = asyncio.get_running_loop().time() + 10  # a sixth of the lease
        while True:
            try:
                await town.ask("status")
                await town.put_settings(name, mod_log_channel=str(town.info.channels["mod-log"]))
            except ServiceError as error:
                if error.code not in (ErrorCode.MOVED, ErrorCode.UNAVAILABLE):
                    raise
            except BusError:
                await asyncio.sleep(0.002)
            else:
                break
            assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)


async def test_step_13_and_19_a_pod_that_joins_is_built_from_a_snapshot_and_becomes_the_owner(
    town: Town, pods: Pods
) -> None:
    first = await pods.start("gateway-0")
    await town.assign(first.name, first.incarnation, epoch=5)
    await town.served()
    for number in range(20):
        await town.say(f"message {number}")
    second = await pods.start("gateway-1")
    joining = Joining(
        pod=PodId(second.name),
        incarnation=Incarnation(second.incarnation),
        purpose="own",
        cause="moved",
    )
    await town.assign(first.name, first.incarnation, epoch=5, joining=joining)
    assert (await holding(town, second)).source == "snapshot"
    await town.assign(
        second.name, second.incarnation, cause="moved", before=[earlier(first, 5)], epoch=6
    )
    assert (await town.served()).pod == second.name

    async def dropped() -> bool:
        return not _rows(first, town)

    await until(dropped)
    entry = await Bucket(town.operator, storage.HANDOFFS).get(f"holds.{town.guild}.{first.name}")
    assert entry is None or entry.value is None  # taken back, or given up before it was written


def _rows(pod: PodProcess, town: Town) -> bool:
    return town.guild in rows_of(pod.data / "gateway.db")


async def test_step_19_an_owner_without_rows_gets_them_from_the_follower(
    town: Town, pods: Pods
) -> None:
    first, second = await pair(town, pods)
    third = await pods.start("gateway-2")
    await first.kill()
    await fence(town, first)
    await town.assign(
        third.name,
        third.incarnation,
        cause="promoted",
        before=[earlier(first, town.epoch)],
        follower=holder(second),
    )
    assert (await town.served()).pod == third.name
    assert (await holding(town, third, "own")).source == "snapshot"


async def test_step_21_a_source_keeps_its_rows(town: Town, pods: Pods) -> None:
    first, second = await pair(town, pods)
    await town.assign(
        second.name,
        second.incarnation,
        cause="moved",
        before=[earlier(first, town.epoch)],
        sources=[source_of(first)],
    )
    await town.served()
    await word(town, "silent", Silent)
    await asyncio.sleep(0.5)
    assert _rows(first, town)


async def test_step_19_a_follower_that_was_restarted_goes_on_from_its_disk(
    town: Town, pods: Pods
) -> None:
    first, second = await pair(town, pods)
    await second.kill()
    spam = await town.say(SPAM)
    await second.start()
    await town.assign(first.name, first.incarnation, epoch=town.epoch, follower=holder(second))
    assert (await holding(town, second)).source == "disk"
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1


async def test_step_23_without_a_leader_a_restarted_pod_takes_its_guilds_back(
    town: Town, pods: Pods
) -> None:
    pod = pods.make("gateway-0", MODBOT_GATEWAY_LEADER_TTL_S="1")
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await pod.kill()
    former = pod.incarnation
    await pod.start()
    status = await town.served(2)
    assert status.pod == pod.name
    entry = await Bucket(town.operator, storage.GUILDS).get(town.guild)
    assert entry is not None
    taken = decode(entry.value or b"", Assignment)
    assert (taken.incarnation, taken.cause, taken.by) == (pod.incarnation, "restarted", pod.name)
    assert [source.incarnation for source in taken.sources] == [former]


async def seal(provisioner: Bus, stream: str) -> None:
    """Nothing is written to the stream any more."""
    info = await provisioner.ask(f"$JS.API.STREAM.INFO.{stream}", b"")
    config = msgspec.json.decode(info.data)["config"] | {"sealed": True}
    answer = await provisioner.ask(f"$JS.API.STREAM.UPDATE.{stream}", msgspec.json.encode(config))
    assert "error" not in msgspec.json.decode(answer.data)


async def test_step_15_the_next_owner_opens_at_the_word_of_the_one_before(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    """The bucket says nothing: it takes nothing that the owner before writes."""
    first, second = await pair(town, pods, **LONG)
    bucket = Bucket(town.operator, storage.HANDOFFS)
    await seal(await nats_server.connect("provisioner"), f"KV_{storage.HANDOFFS}")
    await town.assign(
        second.name, second.incarnation, before=[earlier(first, 1)], follower=holder(first)
    )
    status = await town.served()
    assert (status.pod, status.epoch) == (second.name, 2)
    assert await bucket.get(f"released.{town.guild}") is None


async def test_a_pod_that_leaves_releases_what_it_owns(town: Town, pods: Pods) -> None:
    first, second = await pair(town, pods)
    town.epoch += 1  # the words are about the present epoch
    assert await first.stop() == 0
    await word(town, "released", Released)
    await word(town, "silent", Silent)
    assert "left with 1 guilds" in first.words()
    town.epoch -= 1
    await town.assign(
        second.name, second.incarnation, cause="promoted", before=[earlier(first, town.epoch)]
    )
    assert (await town.served()).pod == second.name
    spam = await town.say(SPAM)
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1
