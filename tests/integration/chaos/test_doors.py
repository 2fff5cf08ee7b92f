"""Questions take every way in turn, those that are open; the ends of edges are noted."""

import asyncio
import os

import pytest
from nacl.signing import SigningKey

from components.chaos.doors import SESSION, Doors
from components.simulator.bootstrap import running_simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from tests.integration.edge.running import running_edge
from tests.support.nats import RunningNats


async def test_ways_are_opened_in_turn_and_an_edge_that_is_not_there_is_left_out(
    nats_server: RunningNats,
) -> None:
    async with running_simulator(Settings()) as running, SimulatorControl(running.url) as control:
        (application,) = await control.applications()
        key = application["public_key"]
        async with running_edge(nats_server, SigningKey.generate(), key) as edge:
            urls = {"edge-0": edge.url, "edge-1": "http://127.0.0.1:9"}
            doors = Doors(control, urls, lambda edge: os.getpid())
            ways = [(await doors.next(), await endpoint(control)) for _ in range(4)]
            assert ways == [
                (SESSION, None),
                ("edge-0", f"{edge.url}/interactions/discord"),
                (SESSION, None),
                (SESSION, None),
            ]
            assert await doors.next() == "edge-0"
            await doors.close()
            assert await endpoint(control) is None


async def endpoint(control: SimulatorControl) -> str | None:
    """Where Discord posts interactions now."""
    (application,) = await control.applications()
    url: str | None = application["interactions_endpoint_url"]
    return url


@pytest.mark.timeout(30)
async def test_the_end_of_an_edge_is_noted_until_there_is_another_process() -> None:
    first = await asyncio.create_subprocess_exec("sleep", "60")
    pids: dict[str, int | None] = {"edge-0": first.pid}
    looked = asyncio.Event()

    def pid(edge: str) -> int | None:
        looked.set()
        return pids[edge]

    async with SimulatorControl("http://127.0.0.1:9") as control:
        doors = Doors(control, {"edge-0": ""}, pid)
        stop = asyncio.Event()
        watching = asyncio.create_task(doors.watch(stop))
        await looked.wait()
        assert doors.ended["edge-0"] == []
        pids["edge-0"] = None
        first.kill()
        await first.wait()
        second = await asyncio.create_subprocess_exec("sleep", "60")
        pids["edge-0"] = second.pid
        try:
            while not doors.ended["edge-0"]:
                await asyncio.sleep(0.01)
        finally:
            second.kill()
            await second.wait()
        stop.set()
        await watching
    noted = doors.ended["edge-0"][0]
    assert noted.from_ms <= noted.to_ms < float("inf")
