"""A pod opens the guilds assigned to it, acts for them once, and lets go of them."""

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
