"""A damaged row fails the requests that need it, and nothing else."""

import sqlite3

import pytest

from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts.errors import ErrorCode, ServiceError
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.town import PodProcess, Pods, Town
from tests.support.nats import RunningNats


def damage(pod: PodProcess, town: Town, statement: str) -> None:
    """Change rows of one guild behind the pod's back."""
    database = sqlite3.connect(pod.data / "gateway.db", isolation_level=None, timeout=10)
    changed = database.execute(f"{statement} WHERE guild_id = ?", (town.guild,)).rowcount
    database.close()
    assert changed == 1


async def test_a_row_that_cannot_be_read_fails_its_request_and_not_the_pod(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats, pods: Pods
) -> None:
    sick, well = await make_towns(2, discord, control, nats_server)
    pod = await pods.start()
    for town in (sick, well):
        await town.assign(pod.name, pod.incarnation)
        await town.served()
        await town.put_settings("one", spam={"timeout_s": 60})
    for statement in (
        "UPDATE settings SET document = CAST('{\"spam\":' AS BLOB)",
        "UPDATE settings SET document = CAST('[]' AS BLOB)",
        "UPDATE settings SET document = x'ff00fe'",
    ):
        damage(pod, sick, statement)
        for _ in range(2):
            with pytest.raises(ServiceError) as unread:
                await sick.ask("settings.get")
            assert unread.value.code == ErrorCode.UNREADABLE
            assert sick.guild in unread.value.description
        assert (await sick.status()).pod == pod.name
        assert (await well.ask("settings.get"))["version"] == 1
    damage(pod, sick, "UPDATE command_replies SET error = CAST('{' AS BLOB)")
    with pytest.raises(ServiceError) as unread:
        await sick.put_settings("one", spam={"timeout_s": 60})
    assert unread.value.code == ErrorCode.UNREADABLE
    await well.put_settings("two", spam={"timeout_s": 90})
    assert (await well.served()).epoch == 1
    assert await pod.stop() == 0
    assert "alarm" in pod.words()
