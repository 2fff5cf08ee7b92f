"""The control client says so when the record no longer holds what was asked for."""

import pytest

from components.simulator.bootstrap import Simulator
from components.simulator.client import RecordCutShort, SimulatorControl
from components.simulator.settings import Settings


@pytest.fixture
def settings() -> Settings:
    """A simulator that keeps little of its record."""
    return Settings(record_limit=100)


async def test_a_record_that_lost_its_beginning_is_refused_rather_than_told_in_part(
    sim: Simulator, control: SimulatorControl
) -> None:
    record = sim.world.record
    for number in range(1000):
        record.add("noise", {"number": number})
    assert len(await control.record_all()) == 1000

    while record.first == 1:
        record.add("noise", {})
    with pytest.raises(RecordCutShort, match=r"entries 1 to 1000.*RECORD_LIMIT"):
        await control.record_all(["noise"])
    with pytest.raises(RecordCutShort):
        await control.record_all(since=999)
    kept = await control.record_all(since=1000)
    assert kept[0].n == 1001
