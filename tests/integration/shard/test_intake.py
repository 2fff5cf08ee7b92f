"""What a session's dispatches do to the queue, with the bus not yet taking any."""

import asyncio

import aiohttp
import pytest
from discord.http import HTTPClient

from components.bus.buckets import Bucket
from components.bus.leases import Lease
from components.responder.responder import Responder
from components.shard.appender import Appender
from components.shard.catch_up import CatchUp
from components.shard.discord_rest import DiscordRest
from components.shard.dispatches import Translator
from components.shard.errors import QueueFull
from components.shard.gate import LeaseGate
from components.shard.guild_create import Identity
from components.shard.history import History, Turns
from components.shard.intake import Intake
from components.shard.interactions import FirstResponder
from components.shard.registry import Registry
from components.shard.resume_data import ResumeData
from components.sharing.slots import RateShare
from contracts import storage
from contracts.ids import SessionId, UserId
from tests.support.nats import RunningNats

IDENTITY = Identity(user_id=UserId("7"), application_id="8")
DATA = b'{"id":"5","guild_id":"123456789012345678"}'


async def test_what_a_resume_repeats_is_not_queued_twice(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("shard")
    resume_data = ResumeData(Bucket(bus, storage.SESSIONS), 0, may_save=lambda: True)
    appender = Appender(
        bus,
        window=1,
        max_dispatches=3,
        max_bytes=1000,
        may_send=lambda: True,
        on_confirmed=lambda dispatch: intake.stored(dispatch),
    )

    def translator(session: SessionId) -> Translator:
        return Translator(
            session=session,
            shard=0,
            identity=IDENTITY,
            answer_to=lambda interaction: "",
            part_bytes=1000,
        )

    gate = LeaseGate(Lease(Bucket(bus, storage.SHARDS), "0"))
    http = HTTPClient(asyncio.get_running_loop())  # nothing is asked of it
    turns = Turns(RateShare(), lambda: True)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        responder = Responder(bus, component="shard", replica="shard-0")
        intake = Intake(
            shard=0,
            shard_count=1,
            translator=translator,
            appender=appender,
            resume_data=resume_data,
            registry=Registry(bus),
            first_responder=FirstResponder(responder, session, tasks),
            catch_up=CatchUp(
                shard=0,
                shard_count=1,
                bus=bus,
                gate=gate,
                history=History(DiscordRest(http, IDENTITY), turns, gate.opened),
                registry=Registry(bus),
            ),
        )
        intake.session_started("s", "ws://resume")
        for sequence in (1, 2, 3):
            intake.dispatched(sequence, "MESSAGE_CREATE", DATA)
        for sequence in (1, 2, 3):  # would be one too many for the queue
            intake.dispatched(sequence, "MESSAGE_CREATE", DATA)
        with pytest.raises(QueueFull):
            intake.dispatched(4, "MESSAGE_CREATE", DATA)
        assert intake.dispatches == 3
        assert intake.confirmed() is None
