"""0006, step 18: at the same sequence a follower equals its owner byte for byte, while inputs keep
coming. `test_handover` compares what is left once they have stopped."""

import asyncio
import hashlib
import itertools

from components.chaos.oracle import Held, held_by
from components.restoring.owner import digest
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts.ids import Incarnation, PodId, Sequence
from contracts.records import Holder
from contracts.requests import GuildDigest
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.test_handover import holding
from tests.integration.gateway.town import SPAM, PodProcess, Pods, Town
from tests.support.nats import RunningNats

GUILDS = 3
SPAMMERS = 20
TIMES = 30
"""At so many different sequences each guild is compared: behind each but the last, inputs came."""
WITHIN_S = 60.0
LEASE = {"MODBOT_GATEWAY_LEASE_TTL_S": "10"}
"""Nobody dies here, however busy the machine is."""
PAUSE_S = 0.05
"""Between two messages of a guild: results, cases and facts come on top of it."""


async def _talk(town: Town) -> None:
    """Messages, spam and writes, until cancelled."""
    talker, *spammers = (member.id for member in town.info.members)
    for number in itertools.count():
        await town.say(f"message {number}", talker)
        if number % 8 == 4 and spammers:
            await town.say(SPAM, spammers.pop())
        if number % 8 == 0:
            channel = str(town.info.channels["mod-log"])
            await town.put_settings(f"{town.guild}-{number}", mod_log_channel=channel)
        await asyncio.sleep(PAUSE_S)


async def _compare(town: Town, owner: PodProcess, follower: PodProcess) -> set[Sequence]:
    """Compare until it was done at enough sequences; at which."""
    compared: set[Sequence] = set()
    while len(compared) < TIMES:
        told = await digest(town.operator, town.guild)
        follows = await asyncio.to_thread(held_by, follower.data, town.guild)
        owns = await asyncio.to_thread(held_by, owner.data, town.guild)
        assert follows is not None
        assert owns is not None
        if follows.sequence == owns.sequence:
            assert follows.dump == owns.dump
            if _is_of(follows, told):
                compared.add(told.sequence)
    return compared


def _is_of(held: Held, told: GuildDigest) -> bool:
    """Whether the owner's digest is of the same sequence; it must then be the same."""
    if held.sequence != told.sequence:
        return False
    assert hashlib.sha256(held.dump).hexdigest() == told.sha256
    return True


async def test_18_followers_equal_their_owners_again_and_again_while_inputs_keep_coming(
    town: Town,
    pods: Pods,
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
) -> None:
    towns = await make_towns(GUILDS, discord, control, nats_server, members=1 + SPAMMERS)
    first, second = pods.make("gateway-0", **LEASE), pods.make("gateway-1", **LEASE)
    await asyncio.gather(first.start(), second.start())
    # Each pod owns some and follows the others.
    roles = [(first, second) if number % 2 == 0 else (second, first) for number in range(GUILDS)]
    for one, (owner, follower) in zip(towns, roles, strict=True):
        holder = Holder(pod=PodId(follower.name), incarnation=Incarnation(follower.incarnation))
        await one.assign(owner.name, owner.incarnation, follower=holder)
        await one.served()
        await holding(one, follower)
    talking = [asyncio.create_task(_talk(one)) for one in towns]
    try:
        async with asyncio.timeout(WITHIN_S):
            compared = await asyncio.gather(
                *(_compare(one, *pair) for one, pair in zip(towns, roles, strict=True))
            )
        assert [task for task in talking if task.done()] == []
        assert all(len(sequences) == TIMES for sequences in compared)
        assert all([(await one.status()).cases > 0 for one in towns])
    finally:
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
