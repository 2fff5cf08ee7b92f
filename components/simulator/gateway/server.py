"""The gateway: IDENTIFY and RESUME, sessions and their ends.

docs: events/gateway
"""

import secrets
from itertools import count
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from components.simulator.clock import Clock
from components.simulator.gateway.budget import IdentifyBudget
from components.simulator.gateway.compression import encoder
from components.simulator.gateway.connection import Closed, Connection
from components.simulator.gateway.fanout import Fanout
from components.simulator.gateway.members import member_chunks
from components.simulator.gateway.protocol import (
    KNOWN_INTENTS,
    PRIVILEGED,
    Close,
    Intent,
    Op,
    shard_of,
)
from components.simulator.gateway.session import Session
from components.simulator.ratelimits import RateLimits
from components.simulator.settings import Settings
from components.simulator.world import render
from components.simulator.world.entities import Application
from components.simulator.world.store import Event, World


class Identify(msgspec.Struct, frozen=True, kw_only=True):
    """docs: events/gateway-events#identify"""

    token: str
    intents: int
    properties: dict[str, Any] = {}
    compress: bool = False
    large_threshold: int = 50
    shard: tuple[int, int] | None = None
    presence: Any = None


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """docs: events/gateway-events#resume"""

    token: str
    session_id: str
    seq: int


class Gateway:
    def __init__(self, world: World, fanout: Fanout, limits: RateLimits, base_url: str) -> None:
        self.world = world
        self.settings: Settings = world.settings
        self.clock: Clock = world.clock
        self.budget = IdentifyBudget(self.settings, self.clock)
        self.fanout = fanout
        self.limits = limits
        self.url = base_url
        self.connections: dict[int, Connection] = {}
        self._ids = count(1)

    @property
    def sessions(self) -> dict[str, Session]:
        return self.fanout.sessions

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Accept a socket. A version other than 10 is closed with 4012, once open."""
        self._expire()
        query = request.query
        chosen = encoder(query.get("compress"))
        if chosen is None or query.get("encoding", "json") != "json":
            return web.Response(status=400, text="unknown compression or encoding")
        connection = Connection(self, next(self._ids), chosen)
        self.connections[connection.id] = connection
        agent = request.headers.get("User-Agent")
        pod = request.headers.get("X-Modbot-Pod")
        self.note(connection, "connect", query=request.query_string, caller=agent, pod=pod)
        if query.get("v") != "10":
            connection.end(Closed(Close.INVALID_API_VERSION, "Invalid API version."))
        return await connection.run(request)

    def note(self, connection: Connection, what: str, **details: Any) -> None:
        """Record something about a connection."""
        session = None if connection.session is None else connection.session.id
        data = {"what": what, "connection": connection.id, "session": session, **details}
        self.world.record.add("gateway", data)

    def heartbeat(self, connection: Connection, seq: Any) -> None:
        """docs: events/gateway#sending-heartbeats"""
        if connection.session is not None and isinstance(seq, int):
            connection.session.confirm(seq, self.settings.strict_resume)
            self.note(connection, "heartbeat", seq=seq)

    def receive(self, connection: Connection, op: int, data: Any) -> None:
        """A payload other than a heartbeat. Raises Closed as Discord closes."""
        if op not in set(Op) or op in (Op.DISPATCH, Op.RECONNECT, Op.HELLO, Op.HEARTBEAT_ACK):
            raise Closed(Close.UNKNOWN_OPCODE, "Unknown opcode.")
        if op in (Op.IDENTIFY, Op.RESUME):
            if connection.session is not None:
                raise Closed(Close.ALREADY_AUTHENTICATED, "Already authenticated.")
            kind: type[Identify] | type[Resume] = Identify if op == Op.IDENTIFY else Resume
            try:
                parsed = msgspec.convert(data, kind)
            except msgspec.ValidationError as error:
                raise Closed(Close.DECODE_ERROR, "Error while decoding payload.") from error
            if isinstance(parsed, Identify):
                self._identify(connection, parsed)
            else:
                self._resume(connection, parsed)
        elif connection.session is None:
            raise Closed(Close.NOT_AUTHENTICATED, "Not authenticated.")
        elif op == Op.REQUEST_GUILD_MEMBERS:
            session = connection.session
            for chunk in member_chunks(self.world, session, data):
                self.fanout.send(session, "GUILD_MEMBERS_CHUNK", msgspec.json.encode(chunk))

    def detach(self, connection: Connection, client_code: int | None) -> None:
        """A socket is gone. 1000 and 1001 from the client end the session, others let it wait."""
        self.connections.pop(connection.id, None)
        session = connection.session
        if session is None or session.send != connection.send_raw:
            return
        session.send = None
        session.expires_at = self.clock.monotonic() + self.settings.resume_window_s
        if client_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
            self.sessions.pop(session.id, None)

    def forget(self, session: Session) -> None:
        """A session ends; its socket stays, to IDENTIFY again."""
        self.sessions.pop(session.id, None)
        session.send = None
        for connection in self.connections.values():
            if connection.session is session:
                connection.session = None

    def close(self) -> None:
        """Close every socket, as when Discord restarts a gateway host."""
        for connection in list(self.connections.values()):
            connection.end(Closed(WSCloseCode.GOING_AWAY, "shutting down"))

    def terminate(self, application: Application, code: int, reason: str) -> None:
        """End every session of an application, sockets included."""
        for session in [s for s in self.sessions.values() if s.application is application]:
            del self.sessions[session.id]
        for connection in list(self.connections.values()):
            current = connection.session
            if current is not None and current.application is application:
                connection.end(Closed(code, reason))

    def _identify(self, connection: Connection, asked: Identify) -> None:
        application = self._authenticate(asked.token)
        shard = asked.shard or (0, 1)
        if not 0 <= shard[0] < shard[1]:
            raise Closed(Close.INVALID_SHARD, "Invalid shard.")
        if asked.intents < 0 or asked.intents & ~KNOWN_INTENTS:
            raise Closed(Close.INVALID_INTENTS, "Invalid intents.")
        if asked.intents & PRIVILEGED & ~application.privileged_intents:
            raise Closed(Close.DISALLOWED_INTENTS, "Disallowed intents.")
        guilds = [
            g
            for g in self.world.guilds.values()
            if application.id in g.applications and shard_of(g.id, shard[1]) == shard[0]
        ]
        if len(guilds) > self.settings.guilds_per_shard:
            raise Closed(Close.SHARDING_REQUIRED, "Sharding is required.")
        details = {"shard": list(shard), "intents": asked.intents}
        if self.limits.enabled and not self.budget.take_key(application.id, shard[0]):
            self.note(connection, "identify", accepted=False, **details)
            connection.send(Op.INVALID_SESSION, False)
            return
        if not self.budget.take(application.id):
            # docs: events/gateway#identifying: all sessions end and the token is reset
            self.world.set_token(application, None)
            self.note(connection, "token_reset", application_id=str(application.id))
            self.terminate(application, Close.AUTHENTICATION_FAILED, "Token was reset.")
            raise Closed(Close.AUTHENTICATION_FAILED, "Authentication failed.")
        self._expire()
        session = Session(
            secrets.token_hex(16),
            application,
            asked.intents,
            shard,
            min(250, max(50, asked.large_threshold)),
            self.settings.replay_buffer,
        )
        connection.session = session
        connection.compress_payloads = asked.compress
        self.note(connection, "identify", accepted=True, **details)
        session.send = connection.send_raw
        self.sessions[session.id] = session
        flags = render.application_flags(application)
        ready = {
            "v": 10,
            "user": {**render.user(application.bot), "verified": True, "mfa_enabled": False},
            "guilds": [{"id": str(g.id), "unavailable": True} for g in guilds],
            "session_id": session.id,
            "resume_gateway_url": self.url,
            "application": {"id": str(application.id), "flags": flags, "flags_new": str(flags)},
            "session_type": "normal",
            "private_channels": [],
        }
        if asked.shard is not None:
            ready["shard"] = list(shard)
        self.fanout.check("READY", ready)
        self.fanout.send(session, "READY", msgspec.json.encode(ready))
        for guild in guilds:
            if asked.intents & Intent.GUILDS and not guild.unavailable:
                event = Event(name="GUILD_CREATE", guild=guild, data={}, subject=guild.id)
                self.fanout.guild_create(session, event)

    def _resume(self, connection: Connection, asked: Resume) -> None:
        application = self._authenticate(asked.token)
        self._expire()
        session = self.sessions.get(asked.session_id)
        details = {"asked": asked.session_id, "seq": asked.seq}
        if session is None or session.application is not application:
            self.note(connection, "resume", accepted=False, why="unknown session", **details)
            connection.send(Op.INVALID_SESSION, False)
            return
        if asked.seq > session.seq:
            raise Closed(Close.INVALID_SEQ, "Invalid seq.")
        if not session.can_replay(asked.seq):
            self.note(connection, "resume", accepted=False, why="not in the buffer", **details)
            del self.sessions[session.id]
            connection.send(Op.INVALID_SESSION, False)
            return
        for other in list(self.connections.values()):
            if other.session is session and other is not connection:
                # Undocumented: the socket that had the session loses it.
                other.end(Closed(Close.UNKNOWN_ERROR, "Session was resumed elsewhere."))
        missed = session.missed(asked.seq)
        connection.session = session
        session.send = connection.send_raw
        session.expires_at = None
        self.note(connection, "resume", accepted=True, replayed=len(missed), **details)
        for payload in missed:
            connection.send_raw(payload)
        self.fanout.send(session, "RESUMED", b'{"_trace":["simulator"]}')

    def _authenticate(self, token: str) -> Application:
        application = self.world.by_token(token.removeprefix("Bot "))
        if application is None:
            raise Closed(Close.AUTHENTICATION_FAILED, "Authentication failed.")
        return application

    def _expire(self) -> None:
        now = self.clock.monotonic()
        for session in list(self.sessions.values()):
            expires = session.expires_at
            if session.send is None and expires is not None and expires <= now:
                del self.sessions[session.id]
