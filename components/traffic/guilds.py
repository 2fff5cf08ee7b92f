"""Guilds to post in: made in the simulator with the roles and channels that moderation needs,
their settings put through the owner like any operator would.

Raises `GuildsNotServed` when the owners do not answer in time; the words name the guilds.
"""

import asyncio
import uuid
from collections.abc import Callable

import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.simulator.client import GuildInfo, SimulatorControl
from components.telemetry import traces
from components.traffic.plan import CHANNELS
from contracts import headers, subjects
from contracts.errors import ErrorBody
from contracts.ids import ChannelId, GuildId, RoleId
from contracts.inputs import Actor
from contracts.message import decode, encode
from contracts.requests import PutSettings
from contracts.settings import GuildSettings, SpamSettings

NAME = "traffic"
MOD_LOG = "mod-log"
HONEYPOT = "do-not-post"
MODERATOR = "Moderator"
RESTRICTED = "Restricted"
AT_ONCE = 32
"""Settings that are put side by side."""
RETRY_S = 0.25


class GuildsNotServed(Exception):
    """Some guilds had no owner inside the deadline; look at `modbot status`."""

    def __init__(self, guilds: list[str], reason: str) -> None:
        super().__init__(
            f"{len(guilds)} guilds are not served yet ({reason}), e.g. {guilds[0]}: "
            "`modbot status` says why"
        )
        self.guilds = guilds


async def ensure_guilds(control: SimulatorControl, count: int) -> list[GuildInfo]:
    """``count`` guilds named ``traffic-N``; those that exist are used again."""
    present = [guild for guild in await control.guilds() if guild.name.startswith(f"{NAME}-")]
    if len(present) < count:
        present += await control.create_guilds(
            count=count - len(present),
            name=f"{NAME}-{{n}}",
            roles=[
                {"name": MODERATOR, "permissions": 1 << 13 | 1 << 40},
                {"name": RESTRICTED},
            ],
            channels=[{"name": name} for name in (*CHANNELS, MOD_LOG, HONEYPOT)],
        )
    return present[:count]


def settings_for(guild: GuildInfo) -> GuildSettings:
    """Settings with the guild's own roles and channels and otherwise the defaults."""
    return GuildSettings(
        moderator_role=RoleId(str(guild.roles[MODERATOR])),
        restricted_role=RoleId(str(guild.roles[RESTRICTED])),
        mod_log_channel=ChannelId(str(guild.channels[MOD_LOG])),
        spam=SpamSettings(honeypot_channels=(ChannelId(str(guild.channels[HONEYPOT])),)),
    )


async def put_settings(bus: Bus, guilds: list[GuildInfo], *, wait_s: float = 60.0) -> None:
    """`put` of `settings_for` each guild."""
    await put(bus, guilds, settings_for, wait_s=wait_s)


async def put(
    bus: Bus,
    guilds: list[GuildInfo],
    settings_of: Callable[[GuildInfo], GuildSettings],
    *,
    wait_s: float = 60.0,
) -> None:
    """Give every guild its settings, waiting for its owner where there is none yet.

    Raises `GuildsNotServed` after ``wait_s``.
    """
    places = asyncio.Semaphore(AT_ONCE)
    waiting = {str(guild.id): "no answer" for guild in guilds}

    async def put_one(guild: GuildInfo) -> None:
        request = PutSettings(
            actor=Actor(kind="operator", id="traffic"),
            settings=msgspec.Raw(encode(settings_of(guild))),
        )
        fields = {headers.REQUEST_ID: uuid.uuid4().hex}
        subject = subjects.request(GuildId(str(guild.id)), PutSettings.verb)
        while True:
            async with places:
                try:
                    with traces.span("put settings", parent=""):
                        carried = traces.carry(fields)
                        reply = await bus.ask(subject, encode(request), carried, timeout_s=5)
                except BusError as error:
                    waiting[str(guild.id)] = str(error) or type(error).__name__
                else:
                    if headers.SERVICE_ERROR not in (reply.headers or {}):
                        del waiting[str(guild.id)]
                        return
                    waiting[str(guild.id)] = decode(reply.data, ErrorBody).error
            await asyncio.sleep(RETRY_S)

    try:
        async with asyncio.timeout(wait_s), asyncio.TaskGroup() as group:
            for guild in guilds:
                group.create_task(put_one(guild))
    except TimeoutError as error:
        names = sorted(waiting)
        raise GuildsNotServed(names, waiting[names[0]]) from error
