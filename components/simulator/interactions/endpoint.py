"""Interactions over HTTP: signed requests to an application's endpoint, and probes of it.

A probe with a bad signature must be answered with 401; anything else, and Discord takes the
endpoint away. docs: interactions/overview#setting-up-an-endpoint
"""

import asyncio
import secrets
import time
from typing import Any

import aiohttp
import msgspec
from nacl.signing import SigningKey

from components.simulator.record import Record
from components.simulator.world.entities import Application

_AGENT = "Discord-Interactions/1.0 (+https://discord.com)"


class Endpoint:
    def __init__(self, record: Record, deadline_s: float) -> None:
        self._record = record
        self._timeout = aiohttp.ClientTimeout(total=deadline_s)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, application: Application, body: dict[str, Any]) -> tuple[int, bytes]:
        """Post a signed body; returns status and answer. Raises ClientError or TimeoutError."""
        raw = msgspec.json.encode(body)
        return await self._send(application, raw, signed(application, raw))

    async def probe(self, application: Application) -> bool:
        """A PING as it should be, and badly signed ones. False, with the endpoint taken away,
        unless the first is answered with a PONG and the others with 401."""
        raw = msgspec.json.encode({"type": 1, "id": "0", "application_id": str(application.id)})
        good = signed(application, raw)
        stamp = {"X-Signature-Timestamp": good["X-Signature-Timestamp"]}
        other = signed(application, raw + b" ")
        bad = {
            "of another body": {**stamp, **_signature(other["X-Signature-Ed25519"])},
            "random": {**stamp, **_signature(secrets.token_hex(64))},
            "malformed": {**stamp, **_signature("not hexadecimal")},
            "too short": {**stamp, **_signature("00")},
            "of another time": {**good, "X-Signature-Timestamp": "1"},
            "missing": {},
        }
        passed = await self._probe_one(application, "good", raw, good, 200)
        for name, headers in bad.items():
            passed = await self._probe_one(application, name, raw, headers, 401) and passed
        if not passed:
            self._record.add(
                "probe",
                {
                    "application_id": str(application.id),
                    "removed": application.interactions_endpoint_url,
                },
            )
            application.interactions_endpoint_url = None
        return passed

    async def _probe_one(
        self,
        application: Application,
        name: str,
        raw: bytes,
        headers: dict[str, str],
        expected: int,
    ) -> bool:
        status: int | None = None
        pong = False
        try:
            status, answer = await self._send(application, raw, headers)
            pong = status == 200 and msgspec.json.decode(answer).get("type") == 1
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, AttributeError):
            pong = False  # no answer, or none that is a JSON object
        passed = status == expected and (pong or expected != 200)
        self._record.add(
            "probe",
            {
                "application_id": str(application.id),
                "signature": name,
                "status": status,
                "passed": passed,
            },
        )
        return passed

    async def _send(
        self, application: Application, raw: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        url = application.interactions_endpoint_url
        if url is None:
            raise aiohttp.ClientError("the application has no endpoint")
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        fixed = {"Content-Type": "application/json", "User-Agent": _AGENT}
        async with self._session.post(url, data=raw, headers={**fixed, **headers}) as response:
            return response.status, await response.read()


def signed(application: Application, raw: bytes) -> dict[str, str]:
    """The two headers with which Discord signs a body."""
    stamp = str(int(time.time()))
    signature = SigningKey(application.signing_seed).sign(stamp.encode() + raw).signature
    return {"X-Signature-Timestamp": stamp, **_signature(signature.hex())}


def _signature(text: str) -> dict[str, str]:
    return {"X-Signature-Ed25519": text}


async def probe_regularly(
    endpoint: Endpoint, applications: dict[Any, Application], every_s: float
) -> None:
    """Probe every endpoint every `every_s`, until cancelled."""
    while True:
        await asyncio.sleep(every_s)  # Discord probes at times of its own
        for application in list(applications.values()):
            if application.interactions_endpoint_url is not None:
                await endpoint.probe(application)
