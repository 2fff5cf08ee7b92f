"""A pod opens the guilds assigned to it, acts for them once, and lets go of them."""

import pytest
from nats.aio.msg import Msg

from components.gateway.shell.intake import Intake
from components.simulator.client import SimulatorControl
from tests.integration.gateway.town import SPAM, Pods, Town, until


async def test_spam_is_deleted_and_its_author_timed_out(
    town: Town, pods: Pods, control: SimulatorControl
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    harmless = await town.say("good morning")
    spam = await town.say(SPAM)

    async def deleted() -> bool:
        left = {int(message["id"]) for message in await control.messages(town.channel)}
        return spam not in left and harmless in left

    await until(deleted)
    await until(lambda: town.rest("PATCH", f"/members/{town.info.members[0].id}"))
    assert await pod.stop() == 0
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1


async def test_a_lost_message_is_acted_on_though_nothing_follows_it(
    town: Town, pods: Pods, control: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison of the logs' ends finds it; a guild that misses nothing is passed over."""
    live = Intake._live
    lost: list[Msg] = []
    losing = False

    async def sometimes(intake: Intake, message: Msg) -> None:
        if losing:
            lost.append(message)
        else:
            await live(intake, message)

    monkeypatch.setattr(Intake, "_live", sometimes)
    await town.assign("gateway-0", await pods.inside())
    await town.served()
    losing = True
    spam = await town.say(SPAM)

    async def deleted() -> bool:
        return spam not in {int(message["id"]) for message in await control.messages(town.channel)}

    await until(deleted)
    assert lost
