"""What chaos loads into processes does its harm there and says so; a fault whose hook said nothing
did not strike."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from components.chaos.faults import stops
from components.chaos.flags import Flags, NotThere
from components.chaos.inside.window import Stop
from components.chaos.run import loading

REPLICA = "gateway-0"
COMMIT = """
import sqlite3
database = sqlite3.connect(":memory:", isolation_level=None)
database.execute("BEGIN")
database.execute("COMMIT")
"""
CLOCK = "import time; print(time.time())"
REQUEST = """
import asyncio
import aiohttp
from components.gateway.shell.effects import rest

class OpenGate:
    def check_effects(self, permit): pass

async def main():
    connector = rest.GatedConnector(OpenGate(), lambda: 5.0)
    rest._attempt.set(rest.Attempt(object(), None))
    agent = {"User-Agent": "DiscordBot (x, 1) gateway-0/a-1"}
    async with aiohttp.ClientSession(connector=connector, headers=agent) as session:
        async with session.delete(f"http://127.0.0.1:{PORT}/api/v10/channels/7") as answer:
            print(answer.status)

asyncio.run(main())
"""


async def start(code: str, flags: Path, *hooks: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, **loading(flags, hooks), "MODBOT_REPLICA": REPLICA}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environment, stdout=asyncio.subprocess.PIPE
    )


async def said(code: str, flags: Path, *hooks: str) -> str:
    process = await start(code, flags, *hooks)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode().strip()


async def test_a_slow_disk_says_that_it_was_slow(tmp_path: Path) -> None:
    flags = Flags(tmp_path)
    flags.path(f"slow-{REPLICA}").write_text("300", encoding="ascii")
    began = time.monotonic()
    await said(COMMIT, tmp_path, "slow_disk")
    assert time.monotonic() - began > 0.3
    flags.require_struck("slow", REPLICA)


async def test_a_clock_that_jumped_says_so(tmp_path: Path) -> None:
    flags = Flags(tmp_path)
    flags.path(f"clock-{REPLICA}").write_text("3600", encoding="ascii")
    assert float(await said(CLOCK, tmp_path, "clock")) > time.time() + 3000
    flags.require_struck("clock", REPLICA)


async def test_a_process_that_is_held_says_so_and_starts_when_it_is_let_go(tmp_path: Path) -> None:
    flags = Flags(tmp_path)
    with flags.held(REPLICA):
        process = await start("print('begun')", tmp_path, "hold")
        async with asyncio.timeout(30):
            while not flags.has_struck("hold", REPLICA):
                await asyncio.sleep(0.02)
        assert process.returncode is None
    told, _ = await process.communicate()
    assert told == b"begun\n"


@pytest.mark.parametrize(("hook", "code"), [("slow", COMMIT), ("clock", CLOCK), ("hold", CLOCK)])
async def test_a_hook_that_is_not_loaded_is_seen_not_to_have_struck(
    tmp_path: Path, hook: str, code: str
) -> None:
    flags = Flags(tmp_path)
    for flag in ("slow", "clock"):
        flags.path(f"{flag}-{REPLICA}").write_text("1", encoding="ascii")
    with flags.held(REPLICA):
        await said(code, tmp_path)
    with pytest.raises(NotThere, match=hook):
        flags.require_struck(hook, REPLICA)


async def test_what_struck_before_does_not_count(tmp_path: Path) -> None:
    flags = Flags(tmp_path)
    flags.path(f"clock-{REPLICA}").write_text("1", encoding="ascii")
    await said(CLOCK, tmp_path, "clock")
    flags.forget("clock", REPLICA)
    assert not flags.has_struck("clock", REPLICA)


def test_of_two_who_hold_a_replica_the_last_one_lets_it_go(tmp_path: Path) -> None:
    flags = Flags(tmp_path)
    with flags.held(REPLICA):
        with flags.held(REPLICA):
            pass
        assert flags.path(f"hold-{REPLICA}").exists()
    assert not flags.path(f"hold-{REPLICA}").exists()


async def stopped_in_a_request(
    flags: Flags, folder: Path
) -> tuple[asyncio.subprocess.Process, asyncio.Server, list[bytes], stops.Standing]:
    """A process that stands between its gate and the socket."""
    arrived: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    flags.path(f"behind-{REPLICA}").touch()
    process = await start(f"PORT = {port}\n{REQUEST}", folder, "window")
    says = flags.path(f"stopped-{REPLICA}")
    async with asyncio.timeout(30):
        while not says.exists():
            await asyncio.sleep(0.02)
    found = msgspec.json.decode(says.read_bytes(), type=Stop)
    assert found.pid == process.pid
    born_s = psutil.Process(process.pid).create_time()
    return process, server, arrived, stops.Standing(pid=found.pid, born_s=born_s, stop=found)


async def test_a_process_stopped_behind_its_gate_says_which_request_leaves_when_it_wakes(
    tmp_path: Path,
) -> None:
    process, server, arrived, standing = await stopped_in_a_request(Flags(tmp_path), tmp_path)
    async with server:
        assert arrived == []
        before_ms = time.time() * 1000
        woken = stops.wake(REPLICA, standing)
        assert woken is not None
        assert (woken.pod, woken.incarnation) == (REPLICA, "a-1")
        assert woken.what == "DELETE /channels/7"
        assert woken.woke_ms >= before_ms
        told, _ = await process.communicate()
    assert told == b"204\n"
    assert arrived == [b"DELETE /api/v10/channels/7 HTTP/1.1\r\n"]


async def test_nothing_leaves_of_a_process_that_died_before_it_woke(tmp_path: Path) -> None:
    process, server, arrived, standing = await stopped_in_a_request(Flags(tmp_path), tmp_path)
    async with server:
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert stops.wake(REPLICA, standing) is None
    assert arrived == []
