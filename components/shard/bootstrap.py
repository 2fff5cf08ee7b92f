"""Puts the shard component together. The only place that wires things."""

import asyncio
import logging

import aiohttp

from components.bus.buckets import Bucket
from components.bus.connection import Bus, connect
from components.bus.settings import BusSettings
from components.discord_api import DiscordSettings, counting, point_at
from components.process.clock import steady_s
from components.process.service import service
from components.process.settings import load
from components.process.stopping import unless_stopped
from components.responder.responder import Responder
from components.shard.appender import Appender
from components.shard.board import Board
from components.shard.budget import answer_budget
from components.shard.catch_up import CatchUp
from components.shard.claims import Claims
from components.shard.commands import deploy_commands
from components.shard.connector import Connector
from components.shard.discord_rest import DiscordRest, logged_in
from components.shard.dispatches import Translator
from components.shard.errors import DiscordUnavailable
from components.shard.flood import FloodLimit
from components.shard.gate import LeaseGate
from components.shard.generations import Generation
from components.shard.history import History, Turns
from components.shard.hold import Hold
from components.shard.identify import IdentifyTurns
from components.shard.intake import Intake
from components.shard.interactions import FirstResponder
from components.shard.overlap import Overlap
from components.shard.presence import Presence
from components.shard.registry import Registry
from components.shard.resume_data import ResumeData
from components.shard.settings import ShardSettings
from components.sharing.invalid import InvalidCount
from components.telemetry.metrics import gauge
from contracts import storage
from contracts.ids import SessionId

log = logging.getLogger(__name__)

DISCORD_RETRY_S = 2.0


async def main(stop: asyncio.Event) -> None:
    """Run the component from the environment's settings until stopped."""
    async with service("shard") as replica:
        await serve(
            stop,
            settings=load(ShardSettings, "SHARD"),
            discord=load(DiscordSettings, "DISCORD"),
            nats=load(BusSettings, "NATS"),
            replica=replica,
        )


async def serve(
    stop: asyncio.Event,
    *,
    settings: ShardSettings,
    discord: DiscordSettings,
    nats: BusSettings,
    replica: str,
) -> None:
    """Run one replica. Raises `CannotStart` (in a group) when a person has to act."""
    point_at(discord)
    bus = await unless_stopped(stop, connect(nats, user="shard", name=replica))
    try:
        ending = asyncio.create_task(stop.wait())
        running = asyncio.create_task(_serve(stop, settings, discord, bus, replica))
        try:
            await asyncio.wait({ending, running}, return_when=asyncio.FIRST_COMPLETED)
            await running
        finally:
            ending.cancel()
            running.cancel()
    finally:
        await bus.close()


async def _serve(
    stop: asyncio.Event, settings: ShardSettings, discord: DiscordSettings, bus: Bus, replica: str
) -> None:
    responder = Responder(bus, component="shard", replica=replica)
    await responder.start()
    shards = Bucket(bus, storage.SHARDS)
    sessions = Bucket(bus, storage.SESSIONS)
    registry = Registry(bus)
    board = Board(shards, sessions, ttl_s=settings.lease_ttl_s)
    invalid = InvalidCount(steady_s)
    async with (
        logged_in(discord.token, counting(invalid.note)) as rest,
        aiohttp.ClientSession(trace_configs=[counting(invalid.note)]) as session,
        asyncio.TaskGroup() as group,
    ):
        count = settings.count or (await rest.gateway_advice()).shards
        turns = IdentifyTurns(rest, board, replica)
        first_responder = FirstResponder(responder, session, group)
        presence = Presence(
            bus,
            replica,
            ttl_s=settings.lease_ttl_s,
            invalid=invalid,
            rest_per_s=settings.rest_per_s,
        )
        reads = Turns(presence.share, presence.valid)

        def new_hold(shard: int, generation: Generation, gate: LeaseGate, since_ms: int) -> Hold:
            shard_count = generation.count
            overlap = Overlap(generation.from_count)
            resume_data = ResumeData(
                sessions, shard, may_save=gate, generation=generation.generation
            )
            appender = Appender(
                bus,
                window=settings.window,
                max_dispatches=settings.queue_dispatches,
                max_bytes=settings.queue_mib * 1024 * 1024,
                may_send=gate,
                on_confirmed=lambda dispatch: intake.stored(dispatch),
                keeps_back=overlap.keeps_back,
                flood=FloodLimit(settings.guild_per_s, settings.guild_burst),
            )

            def translator(session: SessionId) -> Translator:
                return Translator(
                    session=session,
                    shard=shard,
                    identity=rest.identity,
                    answer_to=first_responder.answer_to,
                    part_bytes=settings.part_kib * 1024,
                )

            catch_up = CatchUp(
                shard=shard,
                shard_count=shard_count,
                bus=bus,
                gate=gate,
                history=History(rest, reads, gate.opened),
                registry=registry,
            )
            intake = Intake(
                shard=shard,
                shard_count=shard_count,
                translator=translator,
                appender=appender,
                resume_data=resume_data,
                registry=registry,
                first_responder=first_responder,
                catch_up=catch_up,
                overlap=overlap,
            )
            connector = Connector(
                shard=shard,
                shard_count=shard_count,
                gate=gate,
                rest=rest,
                turns=turns,
                intake=intake,
                appender=appender,
                overlap=overlap,
            )
            return Hold(
                replica=replica,
                shard=shard,
                generation=generation,
                still_wanted=claims.still_wanted,
                bucket=shards,
                gate=gate,
                resume_data=resume_data,
                appender=appender,
                intake=intake,
                connector=connector,
                catch_up=catch_up,
                overlap=overlap,
                since_ms=since_ms,
            )

        claims = Claims(
            replica=replica,
            board=board,
            sessions=sessions,
            ttl_s=settings.lease_ttl_s,
            grace_s=settings.grace_s,
            shard_count=count,
            count_is_advice=settings.count == 0,
            new_hold=new_hold,
            presence=presence,
        )
        bus.on_connected(claims.nats_is_back)
        _measure(bus, claims, presence, invalid)
        await answer_budget(bus, rest, replica)
        helpers = [
            group.create_task(registry.run()),
            group.create_task(_deploy(rest, claims.first_shard)),
        ]
        await claims.run(stop)
        for helper in helpers:
            helper.cancel()


def _measure(bus: Bus, claims: Claims, presence: Presence, invalid: InvalidCount) -> None:
    """The figures for Prometheus."""
    gauge("modbot.nats.connected", lambda: int(bus.connected), "1 while the bus is reached")
    gauge("modbot.shards.held", lambda: claims.held, "Shard ids that the replica holds")
    gauge("modbot.rest.share", lambda: presence.share.share, "Slots of Discord's global rate limit")
    gauge("modbot.rest.in_use", lambda: presence.share.in_use, "Slots that are taken")
    gauge(
        "modbot.invalid.requests",
        lambda: invalid.count,
        "Answers of 401, 403 and 429 within the last 10 minutes",
    )


async def _deploy(rest: DiscordRest, held: asyncio.Event) -> None:
    await held.wait()
    while True:
        try:
            await deploy_commands(rest)
            return
        except DiscordUnavailable as error:
            log.warning("commands are not deployed yet: %s", error)
            await asyncio.sleep(DISCORD_RETRY_S)
