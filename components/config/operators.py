"""The operators' service: ``modbot.config.status`` and ``modbot.config.guild``.

A NATS micro service, so that ``nats micro ls|info|stats`` shows it. Every replica answers (queue
group) from its own view, and says who it is. Errors follow the services convention and say what
to do.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from nats.micro import add_service
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service, ServiceConfig
from opentelemetry.trace import SpanKind

from components.bus.connection import Bus
from components.config.database import Database
from components.config.leadership import Leadership
from components.config.placing import Placer
from components.config.view import View
from components.config.world import Plan, Pod
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId, is_snowflake
from contracts.message import MalformedMessage, Message, decode, encode
from contracts.operations import (
    ClusterStatus,
    GuildPlacement,
    GuildQuery,
    OwnershipChange,
    PodSummary,
    WaitingGuild,
)

log = logging.getLogger(__name__)

NAME = "modbot-config"
"""The micro specification allows no dot in a service's name."""
MAX_WAITING = 1_000

Answer = Callable[[bytes], Awaitable[Message]]


class Operators:
    """Answers operators from what this replica knows."""

    def __init__(
        self,
        bus: Bus,
        view: View,
        placer: Placer,
        database: Database,
        leadership: Leadership,
        replica: str,
    ) -> None:
        self._bus = bus
        self._view = view
        self._placer = placer
        self._database = database
        self._leadership = leadership
        self._replica = replica

    async def serve(self) -> Service:
        """Start answering; stop it with the service's ``stop``."""
        service = await add_service(
            self._bus.client,
            ServiceConfig(
                name=NAME,
                version=version("modbot"),
                description="Which pod owns which guild, and why",
                metadata={"replica": self._replica},
            ),
        )
        for name, answer, words in (
            ("status", self.status, "Leader, pods, guilds that wait and why; request: empty"),
            ("guild", self.guild, 'One guild and its history; request: {"guild": "ID"}'),
        ):
            await service.add_endpoint(
                EndpointConfig(
                    name=name,
                    subject=subjects.config_endpoint(name),
                    handler=_handler(name, answer),
                    metadata={"description": words},
                )
            )
        return service

    async def status(self, _: bytes) -> ClusterStatus:
        """The whole cluster as this replica sees it."""
        self._require_view()
        plan = await self._placer.plan_for_people()
        owned = Counter(held.assignment.pod for held in self._view.assignments.values())
        pods = {**{pod: Pod(pod=pod, away_since_s=0.0) for pod in owned}, **self._view.pods}
        waiting = sorted(plan.waiting, key=int)
        return ClusterStatus(
            leader=self._leadership.holder,
            replica=self._replica,
            pods=[_summary(pods[name], owned[name]) for name in sorted(pods)],
            guilds=len(self._view.registry.keys() | self._view.assignments.keys()),
            waiting=[
                WaitingGuild(
                    guild=guild,
                    name=self._name(guild),
                    pod=plan.waiting[guild].pod,
                    reason=plan.waiting[guild].reason,
                )
                for guild in waiting[:MAX_WAITING]
            ],
            waiting_total=len(waiting),
            database="up" if self._database.up else "down",
        )

    async def guild(self, data: bytes) -> GuildPlacement:
        """One guild; 404 when nobody has seen it."""
        self._require_view()
        guild = _guild_of(data)
        registered = self._view.registry.get(guild)
        history = await self._database.history(guild)
        held = self._view.assignments.get(guild)
        if registered is None and held is None and not history:
            raise ServiceError(
                ErrorCode.NOT_FOUND,
                f"nobody has seen guild {guild}: check the id, that the bot is a member of it, and "
                "that a shard is connected",
            )
        plan = await self._placer.plan_for_people()
        held = self._view.assignments.get(guild)
        owned = held.assignment if held is not None else None
        changes = list(history or [])
        if owned is not None and owned.epoch not in {change.epoch for change in changes}:
            current = OwnershipChange(
                at_ms=owned.since_ms,
                epoch=owned.epoch,
                pod=owned.pod,
                incarnation=owned.incarnation,
                cause=owned.cause,
                by="config (PostgreSQL does not have it yet)",
            )
            changes.insert(0, current)
        return GuildPlacement(
            guild=guild,
            name=self._name(guild),
            present=registered.present if registered is not None else False,
            pod=owned.pod if owned is not None else None,
            incarnation=owned.incarnation if owned is not None else None,
            epoch=owned.epoch if owned is not None else None,
            state="served" if owned is not None and guild not in plan.waiting else "waiting",
            reason=_reason(guild, plan, owned is not None),
            history=changes,
        )

    def _require_view(self) -> None:
        if not self._view.complete:
            raise ServiceError(
                ErrorCode.UNAVAILABLE,
                f"{self._replica} is still reading the buckets; ask again in a second",
            )

    def _name(self, guild: GuildId) -> str:
        registered = self._view.registry.get(guild)
        return registered.name if registered is not None else ""


def _guild_of(data: bytes) -> GuildId:
    try:
        guild = decode(data, GuildQuery).guild
    except MalformedMessage as error:
        raise ServiceError(ErrorCode.MALFORMED, f'{error}; send {{"guild": "ID"}}') from error
    if not is_snowflake(guild):
        raise ServiceError(ErrorCode.INVALID, f"{guild!r} is not a guild's id; it is a number")
    return guild


def _reason(guild: GuildId, plan: Plan, owned: bool) -> str:
    if guild in plan.waiting:
        return plan.waiting[guild].reason
    return "" if owned else "the bot is not a member of it any more"


def _summary(pod: Pod, guilds: int) -> PodSummary:
    lease = pod.lease
    away = pod.away_since_s is not None
    if lease is None:
        return PodSummary(
            pod=pod.pod,
            state="away" if away else "starting",
            guilds=guilds,
            open=0,
            capacity=0,
        )
    return PodSummary(
        pod=pod.pod,
        incarnation=lease.incarnation,
        state="away" if away and lease.state != "fenced" else lease.state,
        guilds=guilds,
        open=0 if away else lease.guilds,
        capacity=lease.capacity,
        applied_per_s=0.0 if away else lease.applied_per_s,
        replica=lease.replica,
        version=lease.version,
    )


def _handler(name: str, answer: Answer) -> Callable[[Request], Awaitable[None]]:
    async def handle(request: Request) -> None:
        parent = (request.headers or {}).get(headers.TRACEPARENT, "")
        with span(f"config.{name}", parent=parent, kind=SpanKind.SERVER):
            try:
                reply = encode(await answer(request.data))
            except ServiceError as error:
                await request.respond_error(
                    str(error.code), error.description, encode(error.body()), carry()
                )
            else:
                await request.respond(reply, carry())

    return handle
