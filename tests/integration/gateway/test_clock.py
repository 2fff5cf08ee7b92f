"""A pod whose wall clock jumps: what is due or of no use any more goes by the log's time."""

from pathlib import Path

from components.chaos.flags import Flags
from components.chaos.run import loading
from tests.integration.gateway.test_handover import settled
from tests.integration.gateway.town import SPAM, Pods, Town, until


async def test_effects_happen_though_the_pods_clock_has_jumped_two_days_ahead(
    town: Town, pods: Pods, tmp_path: Path
) -> None:
    folder = tmp_path / "chaos"
    folder.mkdir()
    flags = Flags(folder)
    pod = await pods.start("gateway-0", **loading(folder, ["clock"]))
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    flags.path(f"clock-{pod.name}").write_text(str(2 * 86_400), encoding="ascii")
    spam = await town.say(SPAM)
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1
    assert await pod.stop() == 0
    flags.require_struck("clock", pod.name)  # its log shows the wall clock's time
