"""A round's guilds: fresh ones, so that each round's history begins at its first input.

The probed ones have one member who posts the same kind of spam all the time, no mod log and
thresholds by which every such message is deleted and nothing else: their stream of deletions is
a clock of how well effects flow.
"""

import msgspec

from components.bus.connection import Bus
from components.simulator.client import GuildInfo, SimulatorControl
from components.traffic.guilds import (
    HONEYPOT,
    MOD_LOG,
    MODERATOR,
    RESTRICTED,
    put,
    settings_for,
)
from components.traffic.plan import CHANNELS
from contracts.ids import GuildId
from contracts.settings import GuildSettings, SpamSettings, SpamThresholds

OWNED_WITHIN_S = 60.0

PROBE_SETTINGS = GuildSettings(
    spam=SpamSettings(
        # any two keywords are a medium verdict, whatever else is noticed: a deletion, no more
        thresholds=SpamThresholds(low=1, medium=2, high=9_000, honeypot=9_001),
    )
)


class Town(msgspec.Struct, frozen=True, kw_only=True):
    """The guilds of one round."""

    talking: list[GuildInfo]
    probed: list[GuildInfo]

    @property
    def guilds(self) -> list[GuildInfo]:
        """All of them."""
        return [*self.talking, *self.probed]

    @property
    def ids(self) -> list[GuildId]:
        """Their ids."""
        return [GuildId(str(guild.id)) for guild in self.guilds]

    @property
    def probed_ids(self) -> list[GuildId]:
        """Ids of the probed ones."""
        return [GuildId(str(guild.id)) for guild in self.probed]


async def found(
    control: SimulatorControl, bus: Bus, number: int, *, talking: int, probed: int
) -> Town:
    """Make the guilds and wait until each has an owner that took its settings.

    Raises `GuildsNotServed`.
    """
    roles = [{"name": MODERATOR, "permissions": 1 << 13 | 1 << 40}, {"name": RESTRICTED}]
    town = Town(
        talking=await control.create_guilds(
            count=talking,
            name=f"round-{number}-{{n}}",
            roles=roles,
            channels=[{"name": name} for name in (*CHANNELS, MOD_LOG, HONEYPOT)],
        ),
        probed=await control.create_guilds(
            count=probed,
            name=f"probe-{number}-{{n}}",
            roles=roles,
            channels=[{"name": name} for name in CHANNELS],
        ),
    )
    documents = {guild.id: settings_for(guild) for guild in town.talking}
    documents |= {guild.id: PROBE_SETTINGS for guild in town.probed}
    await put(bus, town.guilds, lambda guild: documents[guild.id], wait_s=OWNED_WITHIN_S)
    return town
