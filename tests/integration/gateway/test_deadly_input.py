"""An input that kills the process which applies it, among real pods under a real config."""

from pathlib import Path

from components.gateway.shell.attempts import DEATHS
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.fleet import fleet, talking
from tests.integration.gateway.test_poison import POISONED
from tests.integration.gateway.town import OPERATOR, Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres
from tests.support.replay import dump_of_pod, replay

GUILDS = 9
UNNOTED = 2
"""The owner and the follower apply what comes live without a note of it."""


async def test_an_input_that_kills_every_process_ends_as_one_parked_guild(
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    postgres_server: RunningPostgres,
    pods: Pods,
) -> None:
    towns = await make_towns(GUILDS, discord, control, nats_server)
    sick, *well = towns
    async with fleet(nats_server, postgres_server, pods, 3, POISONED) as running:
        await running.settle(towns)
        async with running.kept():
            async with talking(well):
                await sick.say("deadly poison")

                async def parked() -> bool:
                    return (await running.answers(sick)).parked_at is not None

                await until(parked, 60)
                await running.all_serve()
                guilds = [town.guild for town in towns]
                await running.cluster.until_followed(*guilds, within_s=40)
                for number, town in enumerate(well):
                    assert (await running.answers(town)).parked_at is None
                    await town.put_settings(f"well-{number}", spam={"timeout_s": 60})
            died = [code for codes in running.deaths.values() for code in codes]
            print(f"deaths: {running.deaths}")  # the figure of the bound below
            assert set(died) == {-9}
            assert len(died) <= UNNOTED + DEATHS
            at = (await sick.status()).parked_at

            async def alarms() -> list[str]:
                said = (await running.cluster.status()).alarms
                return [alarm.text for alarm in said if alarm.name == "parked"]

            (words,) = await until(alarms, 20)
            assert f"modbot guild {sick.guild} skip {at} " in words
            assert (await running.cluster.guild(sick.guild)).parked_at == at
            skip = {"actor": OPERATOR, "sequence": at, "reason": "it kills"}
            await sick.ask("input.skip", skip)
            assert (await running.answers(sick)).parked_at is None
            await sick.put_settings("sick", spam={"timeout_s": 60})
            listed = (await sick.ask("quarantine.list"))["inputs"]
            assert [item["sequence"] for item in listed] == [at]
            for town in well:
                assert (await running.answers(town)).quarantined == 0
            await running.cluster.until_followed(*guilds)
            assert [code for codes in running.deaths.values() for code in codes] == died

            async def over() -> bool:
                return not await alarms()

            await until(over, 20)
            for town in towns:
                owner = running.pod((await running.assignment(town)).pod)

                async def equal(town: Town = town, data: Path = owner.data) -> bool:
                    replayed = await replay(town.operator, town.guild)
                    return dump_of_pod(data, town.guild) == replayed.dump

                await until(equal)
