"""An edge on a free port in front of a real server, and a client that speaks to it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from nacl.signing import SigningKey

from components.edge.bootstrap import run_edge
from components.edge.server import listen
from components.edge.settings import EdgeSettings
from contracts.ids import GuildId
from tests.support.nats import RunningNats

GUILD = GuildId("4200000000000000042")
TOKEN = "operator-token-of-the-tests"


@dataclass
class Edge:
    """A running edge, and a client that may use it."""

    url: str
    http: aiohttp.ClientSession
    key: SigningKey
    stop: asyncio.Event
    authorization: dict[str, str] = field(
        default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"}
    )

    def signed(self, body: bytes, timestamp: str = "") -> dict[str, str]:
        """Headers with which Discord would send the body."""
        timestamp = timestamp or str(int(time.time()))
        signature = self.key.sign(timestamp.encode() + body).signature.hex()
        return {
            "X-Signature-Ed25519": signature,
            "X-Signature-Timestamp": timestamp,
            "Content-Type": "application/json",
        }

    async def interact(self, interaction: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a signed interaction; status and body of the response."""
        body = json.dumps(interaction).encode()
        return await self.post(body, self.signed(body))

    async def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Send a body to the interactions endpoint; status and body of the response."""
        url = f"{self.url}/interactions/discord"
        async with self.http.post(url, data=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def get(
        self, path: str, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Read as the operator; status, body and headers of the response."""
        fields = {**self.authorization, **(headers or {})}
        async with self.http.get(self.url + path, headers=fields) as response:
            return (
                response.status,
                await response.json(content_type=None),
                {name.lower(): value for name, value in response.headers.items()},
            )


@asynccontextmanager
async def running_edge(
    nats_server: RunningNats, key: SigningKey, public_key: str = ""
) -> AsyncIterator[Edge]:
    """An edge that serves, stopped in order at the end. ``public_key``: whose signatures it takes,
    else those of ``key``."""
    settings = EdgeSettings(
        operator_token=TOKEN,
        discord_public_key=public_key or key.verify_key.encode().hex(),
    )
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    stop = asyncio.Event()
    running = asyncio.create_task(
        run_edge(settings, nats_server.settings("edge"), "edge-0", listening, stop)
    )
    async with aiohttp.ClientSession() as http:
        edge = Edge(url=f"http://127.0.0.1:{port}", http=http, key=key, stop=stop)
        await edge.get("/healthz")  # answered once it serves
        yield edge
    stop.set()
    async with asyncio.timeout(10):
        await running
