"""Pods that end in order, and pods nobody follows, under a real config."""

from pathlib import Path

from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts.ids import GuildId, PodId
from contracts.operations import OperationStarted, PauseBalance, PinGuild
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.fleet import Fleet, fleet
from tests.integration.gateway.test_cold import backed_up, variables, wipe
from tests.integration.gateway.town import Pods, Town
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres
from tests.support.s3 import running_store

GUILDS = 4


async def test_a_pod_leaves_with_no_guild_though_one_is_pinned_to_it_and_gets_that_back(
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    postgres_server: RunningPostgres,
    pods: Pods,
) -> None:
    towns = await make_towns(GUILDS, discord, control, nats_server, members=1)
    async with fleet(nats_server, postgres_server, pods, 2) as running:
        await running.settle(towns)
        pinned = towns[0]
        there = running.pod((await running.assignment(pinned)).pod)
        request = PinGuild(guild=GuildId(pinned.guild), pod=PodId(there.name), by="alice")
        started = await running.cluster.ask("pin", request, OperationStarted)
        assert (await running.cluster.until_done(started.operation)).state == "done"
        await pinned.put_settings("before", spam={"timeout_s": 77})
        assert await there.stop() == 0
        assert "left with 0 guilds" in there.words()
        for town in towns:
            assert (await running.answers(town)).pod != there.name
        await there.start()
        await running.cluster.until(
            lambda owned: owned[pinned.guild].pod == there.name, within_s=40
        )
        assert (await running.answers(pinned)).pod == there.name
        settings = await pinned.ask("settings.get")
        assert (settings["version"], settings["settings"]["spam"]["timeout_s"]) == (1, 77)


async def test_without_followers_a_single_pod_comes_back_and_a_lost_one_is_restored(
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    postgres_server: RunningPostgres,
    pods: Pods,
    tmp_path: Path,
) -> None:
    towns = await make_towns(GUILDS, discord, control, nats_server, members=1)
    async with (
        running_store(tmp_path / "s3") as store,
        fleet(nats_server, postgres_server, pods, 1, variables(store), followers=0) as running,
    ):
        (only,) = running.pods
        await running.open(towns)
        for number, town in enumerate(towns):
            await town.put_settings("first", spam={"timeout_s": 60 + number})
        await only.kill()
        await only.start()
        assert await timeouts(running, towns) == [60, 61, 62, 63]
        await backed_up(only)
        await running.cluster.ask("pause", PauseBalance(by="alice"), OperationStarted)
        other = await running.add(pods.make("gateway-1", **variables(store)))
        await only.kill()
        await wipe(only)
        for town in towns:
            assert (await running.answers(town)).pod == other.name
        assert await timeouts(running, towns) == [60, 61, 62, 63]
        owned = (await running.cluster.assignments()).values()
        assert {(one.cause, one.follower) for one in owned} == {("restored", None)}


async def timeouts(running: Fleet, towns: list[Town]) -> list[int]:
    """The setting that was changed, as each guild's owner has it."""
    found = []
    for town in towns:
        await running.answers(town)
        found.append((await town.ask("settings.get"))["settings"]["spam"]["timeout_s"])
    return found
