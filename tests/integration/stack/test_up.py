"""`modbot up` as a person or a script runs it: everything starts, answers, and is gone after."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import psutil
import pytest

from components.process import exits
from components.simulator.bootstrap import running_simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from components.stack import running
from components.stack.running import RunningStack
from tests.support.stack import remember_ports

MODBOT = [sys.executable, "-m", "components.cli"]
OWN = {"MODBOT_HOME", "MODBOT_NATS_URL", "DISCORD_TOKEN", "SERVICE_MODE"}


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OWN} | more


class Up:
    """A `modbot up --json` that runs."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self.process = process
        self.home = home

    async def ready(self) -> RunningStack:
        assert self.process.stdout is not None
        async with asyncio.timeout(90):
            line = await self.process.stdout.readline()
        assert line, self.progress()
        return msgspec.json.decode(line, type=RunningStack)

    def progress(self) -> str:
        return (self.home.parent / "progress").read_text()

    def record(self) -> RunningStack:
        found = running.read(self.home)
        assert found is not None
        return found

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *MODBOT,
            *arguments,
            "--home",
            str(self.home),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def up(home: Path, *options: str, **more: str) -> AsyncIterator[Up]:
    with (home.parent / "progress").open("ab") as progress:
        process = await asyncio.create_subprocess_exec(
            *MODBOT,
            "up",
            "--json",
            "--home",
            str(home),
            *options,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=progress,
        )
    started = Up(process, home)
    try:
        yield started
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await started.ended()


def left_of(stack: RunningStack) -> list[str]:
    """Processes that the stack started and that are not gone, with what they started."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        named = any(stack.home in part for part in process.info["cmdline"] or [])
        known = process.pid in {each.pid for each in stack.processes}
        if (named or known) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid} {process.info['cmdline']}")
    return found


async def answered_by(edge: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{edge}/readyz") as answer:
        return answer.status


async def scraped(stack: RunningStack) -> dict[str, str]:
    """What each replica tells Prometheus, by its name."""
    found = {}
    async with aiohttp.ClientSession() as session:
        for name, url in stack.urls.items():
            if name.startswith("metrics."):
                async with session.get(url) as answer:
                    found[name.removeprefix("metrics.")] = await answer.text()
    return found


async def guilds_served(started: Up, count: int) -> dict[str, object]:
    """`modbot status --json`, once every guild is served."""
    async with asyncio.timeout(30):
        while True:
            code, out, err = await started.command("status", "--json")
            status: dict[str, object] = msgspec.json.decode(out or "{}")
            if code == 0 and status.get("guilds") == count:
                return status
            assert "Traceback" not in err


@pytest.mark.timeout(240)
async def test_the_whole_stack_starts_answers_heals_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ports = remember_ports(home)
    async with up(home, "--guilds", "3", "--rate", "20") as started:
        stack = await started.ready()
        assert stack.ready
        assert stack.ports == ports
        assert {process.name for process in stack.processes} == {
            "nats", "postgres", "s3", "simulator", "config-0", "config-1",
            "gateway-0", "gateway-1", "shard-0", "edge-0",
        }  # fmt: skip
        status = await guilds_served(started, 3)
        assert status["database"] == "up"
        assert await answered_by(stack.urls["edge-0"]) == 200

        async with SimulatorControl(stack.urls["simulator"]) as control:
            guild = next(iter(await control.guilds())).id
        code, out, _ = await started.command("guild", str(guild), "--json")
        assert code == 0
        assert msgspec.json.decode(out)["status"]["guild"] == str(guild)
        async with asyncio.timeout(30):  # the traffic puts the settings
            while True:
                code, out, _ = await started.command(
                    "guild", str(guild), "settings", "get", "--json"
                )
                if msgspec.json.decode(out)["version"] >= 1:
                    break
        code, _, err = await started.command("guild", "123456789")
        assert code == 1
        assert "Traceback" not in err

        # Everybody can be scraped; one replica of config leads.
        metrics = await scraped(stack)
        assert set(metrics) == {
            "config-0", "config-1", "gateway-0", "gateway-1", "shard-0", "edge-0",
        }  # fmt: skip
        for name, text in metrics.items():
            assert "process_resident_memory_bytes" in text, name
            assert "modbot_nats_connected 1.0" in text, name
        assert sum("modbot_leader 1.0" in text for text in metrics.values()) == 1
        assert "modbot_database_up 1.0" in metrics["config-0"]
        assert "modbot_shards_held 1.0" in metrics["shard-0"]
        assert "modbot_backup_retention_hours 72.0" in metrics["gateway-0"]

        # A second one on the same folder is refused; the first is not disturbed.
        code, _, err = await started.command("up")
        assert code == 1
        assert "a stack is running" in err

        # What is killed comes back, and the record names the new process.
        pids = {process.name: process.pid for process in stack.processes}
        os.kill(pids["gateway-0"], signal.SIGKILL)
        async with asyncio.timeout(30):
            while {p.name: p.pid for p in started.record().processes}.get("gateway-0") in (
                None,
                pids["gateway-0"],
            ):
                await asyncio.sleep(0.1)
        await guilds_served(started, 3)

        stack = started.record()
        started.process.send_signal(signal.SIGINT)
        assert await started.ended() == 0, started.progress()
    assert left_of(stack) == []
    assert running.read(home) is None
    assert "everything has stopped" in started.progress()

    # A second `up` continues with the data.
    async with up(home, "--guilds", "0") as again:
        second = await again.ready()
        assert second.ports == stack.ports
        await guilds_served(again, 3)


@pytest.mark.timeout(120)
async def test_nothing_survives_a_killed_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with up(home, "--guilds", "0", "--gateways", "1", "--configs", "1") as started:
        stack = await started.ready()
        started.process.kill()
        await started.ended()
        async with asyncio.timeout(10):
            while left_of(stack):
                await asyncio.sleep(0.05)


async def test_a_start_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with up(home, "--guilds", "0") as started:
        async with asyncio.timeout(30):
            while running.read(home) is None:
                await asyncio.sleep(0.01)
        stack = started.record()
        started.process.send_signal(signal.SIGINT)
        assert await started.ended() == 0, started.progress()
        assert left_of(stack) == []
    assert "modbot is ready" not in started.progress()


@pytest.mark.timeout(120)
async def test_a_real_token_uses_that_discord_and_no_simulator(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running_simulator(Settings(token="their-token", guilds=1)) as discord:
        more = {
            "DISCORD_TOKEN": "their-token",
            "MODBOT_DISCORD_API_URL": discord.api_url,
            "MODBOT_DISCORD_GATEWAY_URL": discord.gateway_url,
        }
        async with up(home, "--gateways", "1", "--configs", "1", **more) as started:
            stack = await started.ready()
            assert not stack.simulated
            assert "simulator" not in {process.name for process in stack.processes}
            assert "discord.com/oauth2/authorize?client_id=" in started.progress()
            await guilds_served(started, 1)

            # Discord takes an intent away: words and an end, never a loop of IDENTIFYs.
            async with SimulatorControl(discord.url) as control:
                await control.gateway_fault("close", code=4014)
            assert await started.ended() == exits.CONFIG
        assert "MESSAGE CONTENT INTENT" in started.progress()
        assert left_of(stack) == []
        assert "their-token" not in started.progress()
        logs = "".join(path.read_text() for path in (home / "logs").iterdir())
        assert "their-token" not in logs


async def test_a_refused_token_starts_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running_simulator(Settings(token="their-token")) as discord:
        more = {"DISCORD_TOKEN": "stale", "MODBOT_DISCORD_API_URL": discord.api_url}
        async with up(home, **more) as started:
            assert await started.ended() == exits.CONFIG
    assert "refused DISCORD_TOKEN" in started.progress()
    assert "Traceback" not in started.progress()
    assert not home.exists()
