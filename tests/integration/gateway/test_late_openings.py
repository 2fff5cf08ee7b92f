"""The opening of a guild whose acknowledgement, or whose place on the log, is seen late."""

import asyncio

import pytest
from nats.aio.msg import Msg

from components.bus.buckets import Bucket
from components.gateway import bootstrap
from components.gateway.engine.pod_tables import COMPLETE
from components.gateway.shell.gate import Permit
from components.gateway.shell.guild import Guild
from components.gateway.shell.intake import Intake
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.ids import Sequence
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.test_cold import purge
from tests.integration.gateway.test_handover import earlier, fence, holder, holding
from tests.integration.gateway.test_lifecycle import noted
from tests.integration.gateway.town import PodProcess, Pods, Town, until
from tests.support.nats import RunningNats


@pytest.fixture
async def towns(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats
) -> list[Town]:
    """Two guilds."""
    return await make_towns(2, discord, control, nats_server)


async def pair(pods: Pods, *followed: Town) -> tuple[PodProcess, PodProcess]:
    """The owner of these guilds, and their follower, which runs inside the test's process."""
    first, second = await pods.start("gateway-0"), pods.make("gateway-1")
    second.incarnation = await pods.inside(second.name)
    for town in followed:
        await town.assign(first.name, first.incarnation, follower=holder(second))
        await town.served()
        await holding(town, second)
    return first, second


def never_shown(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes onto the guild's log is found only by whoever reads it."""
    live = Intake._live

    async def lost(intake: Intake, message: Msg) -> None:
        if intake._guild != town.guild:
            await live(intake, message)

    monkeypatch.setattr(Intake, "_live", lost)


async def test_a_guild_whose_inputs_have_all_expired_is_opened_however_late_that_is_shown(
    towns: list[Town], pods: Pods, nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, busy = towns
    never_shown(quiet, monkeypatch)
    first, second = await pair(pods, quiet)
    for number in range(5):
        await busy.say(f"message {number}")
    end = (await busy.log())[-1].sequence

    async def complete() -> bool:
        return noted(second.data, COMPLETE) >= end

    await until(complete)
    await purge(nats_server, end + 1)
    await first.kill()
    await fence(quiet, first)
    before = [earlier(first, quiet.epoch)]
    await quiet.assign(second.name, second.incarnation, cause="promoted", before=before)
    assert (await quiet.served()).pod == second.name


async def test_an_opening_that_is_acknowledged_when_the_guild_has_gone_holds_up_no_other(
    towns: list[Town], pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PROMOTING_AT_ONCE", 1)
    monkeypatch.setattr(bootstrap, "CALM_AT_ONCE", 1)
    gone, other = towns
    never_shown(gone, monkeypatch)
    appended, acknowledged = asyncio.Event(), asyncio.Event()
    append = Guild._append_opened

    async def late(guild: Guild, permit: Permit) -> Sequence:
        sequence = await append(guild, permit)
        if guild.id == gone.guild:
            appended.set()
            await acknowledged.wait()
        return sequence

    monkeypatch.setattr(Guild, "_append_opened", late)
    first, second = await pair(pods, *towns)
    await first.kill()
    await fence(gone, first)
    before = [earlier(first, gone.epoch)]
    await gone.assign(second.name, second.incarnation, cause="promoted", before=before)
    await appended.wait()
    before.append(earlier(second, gone.epoch))
    await gone.assign("somebody-else", "x-1", cause="moved", before=before)

    async def let_go() -> bool:
        entry = await Bucket(gone.operator, storage.HANDOFFS).get(
            f"holds.{gone.guild}.{second.name}"
        )
        return entry is None or entry.value is None

    await until(let_go)
    acknowledged.set()
    await other.assign(
        second.name, second.incarnation, cause="promoted", before=[earlier(first, other.epoch)]
    )
    assert (await other.served()).pod == second.name
