"""0006, step 7: the parent of a gateway's process attests its end, and only its parent does."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from contracts import storage
from contracts.message import decode
from contracts.records import ProcessEnd
from tests.support.nats import RunningNats

POD = "gateway-0"
WITHIN_S = 20.0


class Parent:
    """``modbot run gateway`` under test."""

    def __init__(self, process: asyncio.subprocess.Process, bus: Bus) -> None:
        self.process = process
        self._bus = bus

    async def child(self) -> int:
        """Pid of the gateway once its lease stands."""
        async with asyncio.timeout(WITHIN_S):
            async for entry in Bucket(self._bus, storage.PODS).watch(POD):
                if entry is not None and entry.value is not None:
                    break
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        pids = [int(pid) for pid in children.split()]
        assert len(pids) == 1
        return pids[0]

    async def attested(self) -> ProcessEnd:
        """The attestation, once it is there."""
        async with asyncio.timeout(WITHIN_S):
            async for entry in Bucket(self._bus, storage.ENDS).watch():
                if entry is not None and entry.value is not None:
                    end = decode(entry.value, ProcessEnd)
                    assert entry.key == f"{POD}.{end.process}"
                    return end
        raise AssertionError("the watch ended")

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(WITHIN_S):
            return await self.process.wait()


@pytest.fixture
async def parent(nats_server: RunningNats, tmp_path: Path) -> AsyncIterator[Parent]:
    seeds = nats_server.server.seeds
    environment = {
        "MODBOT_REPLICA": POD,
        "MODBOT_NATS_URL": nats_server.url,
        "MODBOT_NATS_SEED": seeds["gateway"],
        "MODBOT_PARENT_SEED": seeds["parent"],
        "MODBOT_GATEWAY_DATA": str(tmp_path / "data"),
        "MODBOT_DISCORD_TOKEN": "nobody.listens.here",
        "MODBOT_DISCORD_API_URL": "http://127.0.0.1:9/api/v10",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "components.cli", "run", "gateway"),
        env={**os.environ, **environment},
        start_new_session=True,
    )
    yield Parent(process, await nats_server.connect("operator"))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def test_the_end_of_a_killed_gateway_is_attested(parent: Parent) -> None:
    os.kill(await parent.child(), signal.SIGKILL)
    end = await parent.attested()
    assert (end.pod, end.exit_code) == (POD, -signal.SIGKILL)
    assert await parent.ended() == 1


async def test_the_gateway_gets_its_environment_without_the_seed_that_attests(
    parent: Parent,
) -> None:
    lines = Path(f"/proc/{await parent.child()}/environ").read_text().split("\0")
    variables = dict(line.split("=", 1) for line in lines if line)
    assert variables["MALLOC_ARENA_MAX"] == "2"
    assert variables["MODBOT_REPLICA"] == POD
    assert "MODBOT_PARENT_SEED" not in variables


async def test_sigterm_reaches_the_gateway_and_its_end_is_attested(parent: Parent) -> None:
    await parent.child()
    parent.process.terminate()
    assert (await parent.attested()).exit_code == 0
    assert await parent.ended() == 0


async def test_a_gateway_whose_parent_is_killed_dies_with_it_and_nobody_attests(
    parent: Parent, nats_server: RunningNats
) -> None:
    child = await parent.child()
    descriptor = os.pidfd_open(child)
    died = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, died.set)
    parent.process.kill()
    async with asyncio.timeout(WITHIN_S):
        await died.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)
    bus = await nats_server.connect("operator")
    assert await Bucket(bus, storage.ENDS).snapshot() == {}
