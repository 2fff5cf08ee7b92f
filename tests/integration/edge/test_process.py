"""The edge as a process: started by its environment, stopped by SIGTERM."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp

from components.process import exits
from tests.support.nats import RunningNats, free_port


async def start(**environment: str) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if "MODBOT" not in name}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "components.edge",
        env=inherited | environment,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_an_edge_serves_until_sigterm_and_ends_well(
    nats_server: RunningNats, tmp_path: Path
) -> None:
    port = free_port()
    seed = tmp_path / "seed"
    seed.write_text(nats_server.settings("edge").seed)
    process = await start(
        MODBOT_NATS_URL=nats_server.url,
        MODBOT_NATS_SEED_FILE=str(seed),
        MODBOT_EDGE_PORT=str(port),
        MODBOT_REPLICA="edge-0",
    )
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as response:
                    assert response.status == 200
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    assert process.returncode == exits.OK, log.decode()
    assert b"Traceback" not in log


async def test_an_edge_that_is_set_wrongly_says_so_and_must_not_be_started_again() -> None:
    process = await start(MODBOT_EDGE_DISCORD_PUBLIC_KEY="short")
    async with asyncio.timeout(30):
        _, log = await process.communicate()
    assert process.returncode == exits.CONFIG
    assert b"MODBOT_EDGE_DISCORD_PUBLIC_KEY" in log
