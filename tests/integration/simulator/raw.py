"""A gateway client by hand, to see every payload, and REST calls with status, headers and body."""

import zlib
from typing import Any

import aiohttp
import msgspec
import zstandard

from components.simulator.gateway.protocol import Op
from components.simulator.settings import Settings

ALL_INTENTS = 53_608_447
TOKEN = Settings().token


class RawGateway:
    """One socket, decompressing as asked. Raises ClosedByServer with the close code."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, compress: str | None) -> None:
        self.socket = socket
        self.session_id = ""
        self.seq: int | None = None
        self._zlib = zlib.decompressobj() if compress == "zlib-stream" else None
        self._zstd: Any = None
        if compress == "zstd-stream":
            self._zstd = zstandard.ZstdDecompressor().decompressobj()

    async def receive(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """The next payload."""
        message = await self.socket.receive(timeout=timeout_s)
        if message.type in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSING,
            aiohttp.WSMsgType.ERROR,
        ):
            raise ClosedByServer(self.socket.close_code or 1006)
        raw = message.data
        if self._zlib is not None:
            raw = self._zlib.decompress(raw)
        elif self._zstd is not None:
            raw = self._zstd.decompress(raw)
        payload: dict[str, Any] = msgspec.json.decode(raw)
        if payload["op"] == Op.DISPATCH:
            self.seq = payload["s"]
            if payload["t"] == "READY":
                self.session_id = payload["d"]["session_id"]
        return payload

    async def until(self, name: str) -> dict[str, Any]:
        """The data of the next dispatch of this name."""
        while True:
            payload = await self.receive()
            if payload["op"] == Op.DISPATCH and payload["t"] == name:
                data: dict[str, Any] = payload["d"]
                return data

    async def until_op(self, op: Op) -> dict[str, Any]:
        """The next payload of this opcode."""
        while True:
            payload = await self.receive()
            if payload["op"] == op:
                return payload

    async def closed(self) -> int:
        """Read until the server closes; the code."""
        while True:
            try:
                await self.receive()
            except ClosedByServer as closed:
                return closed.code

    async def send(self, op: int, data: Any = None) -> None:
        await self.socket.send_json({"op": op, "d": data})

    async def identify(self, intents: int = ALL_INTENTS, **fields: Any) -> None:
        body = {"token": TOKEN, "intents": intents, "properties": {}, **fields}
        await self.send(Op.IDENTIFY, body)

    async def resume(self, session_id: str, seq: int) -> None:
        body = {"token": TOKEN, "session_id": session_id, "seq": seq}
        await self.send(Op.RESUME, body)


class ClosedByServer(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Reply:
    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def code(self) -> int:
        """Discord's error code."""
        return int(self.body["code"])


class Caller:
    """REST calls and sockets of one bot."""

    def __init__(self, http: aiohttp.ClientSession, api_url: str, gateway_url: str) -> None:
        self.token = TOKEN
        self._http = http
        self._api = api_url
        self._gateway = gateway_url

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        sent = {"Authorization": f"Bot {self.token}", **headers}
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        async with self._http.request(method, self._api + path, data=data, headers=sent) as got:
            raw = await got.read()
            parsed = msgspec.json.decode(raw) if raw and raw[:1] in b"{[" else raw.decode()
            return Reply(got.status, got.headers, parsed)

    async def connect(self, compress: str | None = None, query: str = "v=10") -> RawGateway:
        """A socket past its HELLO."""
        url = f"{self._gateway}?{query}&encoding=json"
        if compress is not None:
            url += f"&compress={compress}"
        gateway = RawGateway(await self._http.ws_connect(url), compress)
        hello = await gateway.receive()
        assert hello["op"] == Op.HELLO
        return gateway

    async def identified(self, compress: str | None = None, **fields: Any) -> RawGateway:
        """A socket past its READY."""
        gateway = await self.connect(compress)
        await gateway.identify(**fields)
        await gateway.until("READY")
        return gateway
