"""The first response to interactions over the gateway."""

from typing import Any

import msgspec
import pytest

from components.bus.connection import Bus
from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from contracts import subjects
from contracts.ids import Epoch, GuildId, InteractionId, Sequence
from contracts.inputs import InteractionReceived
from contracts.interactions import (
    CHANNEL_MESSAGE,
    COMMANDS,
    DEFERRED_CHANNEL_MESSAGE,
    AnswerTaken,
    InteractionAnswer,
)
from contracts.message import decode, encode
from tests.integration.shard.replicas import Replica, Replicas, inputs_of, until
from tests.integration.shard.traffic import guilds_known
from tests.support.nats import RunningNats


@pytest.fixture
async def bus(nats_server: RunningNats) -> Bus:
    return await nats_server.connect("gateway")


@pytest.fixture
async def guild(control: SimulatorControl) -> GuildInfo:
    return (await control.create_guilds(count=1, member_count=1))[0]


@pytest.fixture
async def replica(
    guild: GuildInfo, control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> Replica:
    started = await replicas.start()
    await guilds_known(await nats_server.connect("config"), [guild])
    await started.said("deployed 1 commands")
    return started


async def received(bus: Bus, guild: GuildInfo, interaction: int) -> InteractionReceived:
    """The interaction on the guild's log."""
    found: list[InteractionReceived] = []

    async def there() -> bool:
        inputs = await inputs_of(bus, GuildId(str(guild.id)))
        found[:] = [i for i in inputs if isinstance(i, InteractionReceived)]
        return bool(found)

    await until(there)
    assert msgspec.json.decode(found[0].data)["id"] == str(interaction)
    return found[0]


def an_answer(interaction: int) -> bytes:
    return encode(
        InteractionAnswer(
            interaction=InteractionId(str(interaction)),
            type=CHANNEL_MESSAGE,
            data=msgspec.Raw(b'{"content":"Case 1","flags":64}'),
            epoch=Epoch(1),
            sequence=Sequence(2),
        )
    )


@pytest.mark.usefixtures("replica")
async def test_an_owner_that_answers_in_time_gives_the_first_response(
    bus: Bus, guild: GuildInfo, control: SimulatorControl
) -> None:
    channel = next(iter(guild.channels.values()))
    interaction = await control.command(channel, guild.owner_id, "case view", {"number": 1})
    on_log = await received(bus, guild, interaction)
    assert (on_log.via, on_log.previous is not None) == ("gateway", True)
    assert on_log.answer_to == subjects.answer("shard", "shard-0", InteractionId(str(interaction)))

    reply = await bus.ask(on_log.answer_to, an_answer(interaction))

    assert decode(reply.data, AnswerTaken).taken
    state = await control.interaction(interaction, wait_s=3)
    assert (state["answer"], state["failure"]) == (CHANNEL_MESSAGE, None)


@pytest.mark.parametrize("status", [404, 503])
async def test_an_owner_whose_answer_discord_does_not_take_hears_so(
    status: int, bus: Bus, guild: GuildInfo, control: SimulatorControl, replica: Replica
) -> None:
    await control.add_fault(method="POST", path="/interactions/*", status=status, count=None)
    channel = next(iter(guild.channels.values()))
    interaction = await control.command(channel, guild.owner_id, "case view", {"number": 1})
    on_log = await received(bus, guild, interaction)

    reply = await bus.ask(on_log.answer_to, an_answer(interaction), timeout_s=4)

    assert not decode(reply.data, AnswerTaken).taken
    await replica.said(f"interaction {interaction} has no first response")


@pytest.mark.usefixtures("replica")
async def test_an_owner_that_is_silent_is_deferred_for(
    bus: Bus, guild: GuildInfo, control: SimulatorControl
) -> None:
    channel = next(iter(guild.channels.values()))
    interaction = await control.command(channel, guild.owner_id, "case view", {"number": 1})
    on_log = await received(bus, guild, interaction)

    state = await control.interaction(interaction, wait_s=3)
    assert (state["answer"], state["failure"]) == (DEFERRED_CHANNEL_MESSAGE, None)
    assert on_log.session is not None


@pytest.mark.usefixtures("replica")
async def test_an_interaction_outside_a_server_is_answered_in_words(
    discord: Simulator, control: SimulatorControl
) -> None:
    [session] = discord.gateway.sessions.values()
    outside = {"id": "77", "type": 2, "token": "secret", "data": {"name": "case"}}
    session.dispatch("INTERACTION_CREATE", msgspec.json.encode(outside))

    async def called_back() -> bool:
        calls = await control.record_all(["rest"])
        return any(call.data["path"].startswith("/interactions/77/") for call in calls)

    await until(called_back)


@pytest.mark.usefixtures("replica")
async def test_an_interaction_that_discord_does_not_know_any_more_harms_nothing(
    bus: Bus, guild: GuildInfo, discord: Simulator, control: SimulatorControl, replica: Replica
) -> None:
    [session] = discord.gateway.sessions.values()
    gone = {"id": "78", "type": 2, "token": "t", "guild_id": str(guild.id), "data": {}}
    session.dispatch("INTERACTION_CREATE", msgspec.json.encode(gone))
    await replica.said("interaction 78 has no first response")

    channel = next(iter(guild.channels.values()))
    interaction = await control.command(channel, guild.owner_id, "case view", {"number": 1})
    state = await control.interaction(interaction, wait_s=3)
    assert (state["answer"], state["failure"]) == (DEFERRED_CHANNEL_MESSAGE, None)


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"drop": True}, {"drop": True, "moment": "after"}]
)
async def test_a_first_response_that_fails_is_given_again_and_40060_counts_as_answered(
    fault: dict[str, Any], guild: GuildInfo, control: SimulatorControl, replica: Replica
) -> None:
    await control.add_fault(method="POST", path="/interactions/*", **fault)
    channel = next(iter(guild.channels.values()))
    interaction = await control.command(channel, guild.owner_id, "case view", {"number": 1})
    state = await control.interaction(interaction, wait_s=3)
    assert (state["answer"], state["failure"]) == (DEFERRED_CHANNEL_MESSAGE, None)
    assert await replica.stop() == 0  # its tasks have ended
    assert "no first response" not in replica.words()
    calls = await control.record_all(["rest"])
    assert sum("/interactions/" in call.data["path"] for call in calls) == 2


async def test_commands_are_deployed_once(replica: Replica, replicas: Replicas) -> None:
    assert f"deployed {len(COMMANDS)} commands" in replica.words()
    assert await replica.stop() == 0
    again = await replicas.start()
    await again.said("commands are deployed already")
