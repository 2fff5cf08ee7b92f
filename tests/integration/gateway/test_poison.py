"""An input that kills the pod: known by its second death, parked, skipped by an operator."""

import asyncio

import pytest

from components.bus import stream
from components.bus.buckets import Bucket
from components.gateway.shell.attempts import DEATHS
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.errors import ErrorCode, ServiceError
from contracts.requests import GuildStatus
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.test_handover import holder, pair
from tests.integration.gateway.test_lifecycle import mark, purge, refusal
from tests.integration.gateway.town import OPERATOR, SPAM, PodProcess, Pods, Town, until
from tests.support.nats import RunningNats

POISONED = {"TEST_MODULE": "tests.integration.gateway.poisoned"}


async def die(pod: PodProcess) -> None:
    """Wait until the pod has ended by itself."""
    assert pod.process is not None
    assert await pod.process.wait() == 1


async def parked(town: Town, pod: PodProcess) -> GuildStatus:
    """Let the pod die of its poison until it parks the guild."""
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await town.say("poison")
    await die(pod)
    for _ in range(DEATHS):
        await pod.start()
        await town.assign(pod.name, pod.incarnation)
        await die(pod)
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    return await town.served()


async def test_an_input_that_kills_the_pod_parks_its_guild_and_no_other(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats, pods: Pods
) -> None:
    sick, well = await make_towns(2, discord, control, nats_server)
    pod = await pods.start(**POISONED)
    await well.assign(pod.name, pod.incarnation)
    status = await parked(sick, pod)
    assert status.parked_at is not None
    assert "died" in status.parked_reason
    await well.assign(pod.name, pod.incarnation)
    assert (await well.served()).parked_at is None
    await well.say(SPAM)
    await until(lambda: well.rest("DELETE", f"/channels/{well.channel}/messages"))


async def test_a_parked_guild_answers_reads_refuses_writes_and_goes_on_by_a_skip(
    town: Town, pods: Pods
) -> None:
    pod = await pods.start(**POISONED)
    status = await parked(town, pod)
    at = status.parked_at
    spam = await town.say(SPAM)
    assert (await town.ask("settings.get"))["version"] == 0
    with pytest.raises(ServiceError) as refused:
        await town.put_settings("one", spam={"timeout_s": 60})
    assert refused.value.code == ErrorCode.PARKED
    with pytest.raises(ServiceError) as wrong:
        await town.ask("input.skip", {"actor": OPERATOR, "sequence": 1, "reason": "guess"})
    assert wrong.value.code == ErrorCode.CONFLICT
    assert await town.rest("DELETE", f"/messages/{spam}") == []
    await town.ask("input.skip", {"actor": OPERATOR, "sequence": at, "reason": "seen"})
    await until(lambda: town.rest("DELETE", f"/messages/{spam}"))
    status = await town.status()
    assert status.parked_at is None
    listed = (await town.ask("quarantine.list"))["inputs"]
    assert [item["sequence"] for item in listed] == [at]
    assert "seen" in listed[0]["reason"]
    assert await Bucket(town.operator, storage.ATTEMPTS).get(town.guild) is not None


async def test_a_parked_guild_holds_up_no_other_guilds_mark(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats, pods: Pods
) -> None:
    sick, well = await make_towns(2, discord, control, nats_server)
    pod = await pods.start(**POISONED)

    async def marked() -> int:
        """The pod's mark has passed what is on the log now."""
        last = (await well.shard.append("modbot.in.77", b"{}")).sequence

        async def passed() -> bool:
            return await mark(pod.data) >= last

        await until(passed)
        return last

    for town in (sick, well):
        await town.assign(pod.name, pod.incarnation)
        await town.served()
    await marked()
    status = await parked(sick, pod)
    await well.assign(pod.name, pod.incarnation)
    await well.served()
    last = await marked()
    await pod.kill()
    await purge(nats_server, last)
    await pod.start()
    for town in (sick, well):
        await town.assign(pod.name, pod.incarnation)
    assert (await well.served()).parked_at is None
    # What the parked guild waits at is gone with the stream's beginning, and it says so.
    assert status.parked_at is not None
    assert status.parked_at <= last
    assert "starts at" in await until(lambda: refusal(sick))


async def test_a_rebuild_by_replay_never_tries_what_the_log_says_to_skip(
    town: Town, pods: Pods
) -> None:
    pod = await pods.start(**POISONED)
    status = await parked(town, pod)
    await town.ask(
        "input.skip", {"actor": OPERATOR, "sequence": status.parked_at, "reason": "seen"}
    )
    await until(lambda: _applied_past(town, status.parked_at or 0))
    await pod.kill()
    other = await pods.start("gateway-1", **POISONED)
    await town.assign(other.name, other.incarnation)
    rebuilt = await town.served()
    assert rebuilt.parked_at is None
    assert rebuilt.quarantined == 1
    assert await other.stop() == 0


async def _applied_past(town: Town, sequence: int) -> bool:
    return (await town.status()).applied > sequence


async def test_a_killed_pod_does_not_park_what_it_was_just_applying(town: Town, pods: Pods) -> None:
    pod = await pods.start()
    for _ in range(4):
        await town.assign(pod.name, pod.incarnation)
        await town.say("hello")
        await pod.kill()
        await pod.start()
    await town.assign(pod.name, pod.incarnation)
    assert (await town.served()).parked_at is None


@pytest.mark.parametrize("crashed", [False, True])
async def test_only_who_crashed_notes_each_input_that_it_tries(
    crashed: bool, town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    if crashed:
        await pod.kill()
    else:
        await pod.stop()
    for number in range(20):
        await town.say(f"hello {number}")
    await pod.start()
    await town.assign(pod.name, pod.incarnation, cause="restarted")
    await town.served()
    provisioner = await nats_server.connect("provisioner")
    noted = (await stream.bounds(provisioner, f"KV_{storage.ATTEMPTS}")).last
    assert (noted > 0) == crashed


async def test_an_input_that_kills_owner_and_follower_together_parks_one_guild(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats, pods: Pods
) -> None:
    sick, well = await make_towns(2, discord, control, nats_server)
    first, second = await pair(sick, pods, **POISONED)
    await well.assign(first.name, first.incarnation)
    await well.served()
    await sick.say("poison")
    deaths = 1
    await asyncio.gather(die(first), die(second))
    while True:
        await asyncio.gather(first.start(), second.start())
        await asyncio.gather(
            sick.assign(first.name, first.incarnation, follower=holder(second)),
            well.assign(first.name, first.incarnation),
        )
        assert first.process is not None
        assert second.process is not None
        ends = [asyncio.create_task(process.wait()) for process in (first.process, second.process)]
        answers = asyncio.create_task(sick.served())
        await asyncio.wait([answers, *ends], return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            break
        answers.cancel()
        deaths += 1
        assert deaths < 5
        await asyncio.gather(first.kill(), second.kill())
    assert (await sick.status()).parked_at is not None
    assert (await well.served()).parked_at is None
    await well.say(SPAM)
    await until(lambda: well.rest("DELETE", f"/channels/{well.channel}/messages"))
    assert second.process.returncode is None
