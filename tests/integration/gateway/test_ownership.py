"""Who owns a guild: epochs, incarnations, restarts, and guilds that cannot be served."""

import asyncio

import msgspec
import pytest

from components.bus.buckets import Bucket
from components.bus.errors import BusError, NoOwner
from components.gateway.engine.inputs import ENGINE_VERSION
from components.simulator.client import SimulatorControl
from contracts import headers, storage, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import Epoch, Incarnation, PodId, Sequence
from contracts.inputs import OwnerOpened, owner_opened_id
from contracts.message import decode, encode
from contracts.records import PodLease
from tests.integration.gateway.town import SPAM, PodProcess, Pods, Town, until
from tests.support.nats import RunningNats


async def test_a_restarted_pod_is_a_new_incarnation_and_serves_at_a_higher_epoch(
    town: Town, pods: Pods
) -> None:
    pod = await pods.start()
    first = pod.incarnation
    await town.assign(pod.name, first)
    before = await town.served()
    await pod.kill()
    second = await pod.start()
    assert second != first
    with pytest.raises(NoOwner):
        await town.status()  # the old incarnation's assignment is not for this one
    await town.assign(pod.name, second)
    after = await town.served()
    assert (after.epoch, after.applied > before.applied) == (2, True)


async def test_a_restart_over_the_same_data_does_not_wait_for_the_old_lease(
    town: Town, pods: Pods
) -> None:
    pod = await pods.start(MODBOT_GATEWAY_LEASE_TTL_S="30")
    await pod.kill()
    await pod.start()  # within the 20 s of `until`, and far below 30 s


async def test_a_pod_of_the_same_name_over_other_data_waits_for_the_lease(
    town: Town, pods: Pods
) -> None:
    first = await pods.start()
    second = pods.make(MODBOT_GATEWAY_DATA=str(first.data) + "-other")
    second.incarnation = first.incarnation  # wait for another one
    starting = asyncio.create_task(second.start())

    async def waits() -> bool:
        return "held by another process" in second.words()

    await until(waits)
    lease = await first.lease()
    assert lease is not None
    assert lease.incarnation == first.incarnation
    await first.kill()
    await starting
    assert second.incarnation != first.incarnation


async def test_a_pod_that_waits_for_a_lease_stops_when_told(town: Town, pods: Pods) -> None:
    first = await pods.start()
    second = pods.make(MODBOT_GATEWAY_DATA=str(first.data) + "-other")
    second.incarnation = first.incarnation  # wait for another one
    starting = asyncio.create_task(second.start())

    async def waits() -> bool:
        return "held by another process" in second.words()

    await until(waits)
    async with asyncio.timeout(5):
        assert await second.stop() == 0
    starting.cancel()


async def test_a_pod_gets_past_a_lease_that_does_not_expire(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = pods.make()
    dead = PodLease(
        pod=PodId(pod.name),
        incarnation=Incarnation("created-1"),
        data="another disk",
        state="draining",
        capacity=1,
        version="1",
        engine_version=ENGINE_VERSION,
        started_ms=1,
    )
    # A killed nats-server may bring a key back without its time to live.
    bucket = Bucket(await nats_server.connect("gateway"), storage.PODS)
    await bucket.put(pod.name, encode(dead))
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    assert pod.words().count("held by another process") == 1


async def test_a_pod_that_stops_gives_its_lease_back(town: Town, pods: Pods) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    assert await pod.stop() == 0
    assert await pod.lease() is None


async def test_step_12_a_fenced_pod_ends_and_its_next_start_joins(town: Town, pods: Pods) -> None:
    pod = await pods.start()
    lease = await pod.lease()
    assert lease is not None
    fenced = msgspec.structs.replace(lease, state="fenced", fenced_by="config-0")
    await Bucket(town.config, storage.PODS).put(pod.name, encode(fenced))
    assert pod.process is not None
    assert await pod.process.wait() == 1
    await pod.start()


async def test_a_guild_that_is_assigned_elsewhere_is_let_go(town: Town, pods: Pods) -> None:
    first, second = await pods.start("gateway-0"), await pods.start("gateway-1")
    await town.assign(first.name, first.incarnation)
    await town.served()
    await town.assign(second.name, second.incarnation)
    status = await town.served()  # rebuilt from the log, which holds all of it
    assert status.pod == "gateway-1"
    await until(lambda: _no_guilds(first))


async def test_a_higher_epoch_on_the_log_closes_the_guild_at_once(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    newer = OwnerOpened(
        epoch=Epoch(9),
        pod=PodId("gateway-9"),
        incarnation=Incarnation("x-1"),
        engine_version=ENGINE_VERSION,
    )
    await town.shard.append(
        subjects.inputs(town.guild),
        encode(newer),
        {headers.MSG_ID: owner_opened_id(town.guild, Epoch(9), Incarnation("x-1"), "1")},
    )

    async def closed() -> bool:
        try:
            await town.status()
        except ServiceError as error:
            if error.code != ErrorCode.MOVED:  # one that was asked just then is told
                raise
        except BusError as error:
            return isinstance(error, NoOwner)
        return False

    await until(closed)
    spam = await town.say(SPAM)
    await until(lambda: _no_guilds(pod))
    assert await town.rest("DELETE", f"/messages/{spam}") == []


async def _no_guilds(pod: PodProcess) -> bool:
    lease = await pod.lease()
    return lease is not None and lease.guilds == 0


async def _refusal(town: Town) -> str | None:
    """Why the guild is not served, once a pod says so."""
    try:
        await town.status()
    except ServiceError as error:
        return error.description if error.code == ErrorCode.UNAVAILABLE else None
    except BusError:
        return None  # nobody answers yet
    return None


async def test_a_guild_rebuilt_from_its_log_has_the_same_state_and_repeats_nothing(
    town: Town, pods: Pods, control: SimulatorControl
) -> None:
    first, second = await pods.start("gateway-0"), await pods.start("gateway-1")
    await town.assign(first.name, first.incarnation)
    await town.served()
    await town.put_settings("one", mod_log_channel=str(town.info.channels["mod-log"]))
    spam = await town.say(SPAM)

    async def settled() -> bool:
        status = await town.served()
        return status.cases > 0 and status.outbox_pending == 0

    await until(settled)
    before = await control.guild(town.info.id)
    await first.kill()
    await town.assign(second.name, second.incarnation)
    await until(settled)
    after = await control.guild(town.info.id)
    assert after == before
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1


async def test_a_pod_without_rows_refuses_a_guild_whose_first_input_is_gone(
    town: Town, pods: Pods
) -> None:
    pod = await pods.start()
    await town.say("hello")
    town.first_sequence = Sequence(999_999)
    await town.assign(pod.name, pod.incarnation)
    assert "first input was 999999" in await until(lambda: _refusal(town))
    lease = await pod.lease()
    assert lease is not None
    assert lease.guilds == 0


async def test_a_new_generation_of_the_stream_is_refused(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await pod.kill()
    provisioner = await nats_server.connect("provisioner")
    await provisioner.ask(f"$JS.API.STREAM.DELETE.{storage.INPUTS}", b"")
    await nats_server.provision()
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    assert "generation" in await until(lambda: _refusal(town))


async def test_the_state_of_a_killed_pod_equals_a_replay_of_the_log(town: Town, pods: Pods) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    for number in range(3):
        for word in range(20):
            await town.say(f"message {number} {word}")
        await pod.kill()
        await pod.start()
        await town.assign(pod.name, pod.incarnation)
        await town.served()
    assert await pod.stop() == 0
    await town.check_rows(pod.data)


async def test_a_lease_shows_what_the_pod_is_and_does(town: Town, pods: Pods) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()

    async def counted() -> PodLease | None:
        entry = await Bucket(town.operator, storage.PODS).get(pod.name)
        assert entry is not None
        lease = decode(entry.value or b"", PodLease)
        return lease if lease.guilds == 1 else None

    lease = await until(counted)
    assert lease.replica == ""  # there is no backup
    assert lease.nats_client > 0
    assert lease.nats_server
    assert lease.ttl_s == 2
