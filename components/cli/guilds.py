"""``modbot guilds``: every guild that a shard has seen, and who owns it."""

import argparse

from components.bus.buckets import Bucket
from components.bus.settings import BusSettings
from components.cli.asking import answered, bus_settings, operator, print_json
from components.cli.stack_options import add_home
from components.cli.text import columns, moment
from contracts import storage
from contracts.message import decode
from contracts.records import Assignment, RegisteredGuild


def main(arguments: list[str]) -> int:
    """Print the list; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="modbot guilds",
        description="List the guilds that the bot is in: id, name, owner, epoch, since when. "
        "`modbot guild ID` looks into one.",
    )
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="everything, for a program to read")
    options = parser.parse_args(arguments)
    registered, owned = answered(_read(bus_settings(options)))
    if options.json:
        print_json([{"guild": g, "assignment": owned.get(g.guild)} for g in registered])
    else:
        print(text_of(registered, owned))
    return 0


async def _read(settings: BusSettings) -> tuple[list[RegisteredGuild], dict[str, Assignment]]:
    async with operator(settings) as bus:
        seen = await Bucket(bus, storage.REGISTRY).snapshot()
        assigned = await Bucket(bus, storage.GUILDS).snapshot()
    registered = [decode(entry.value or b"", RegisteredGuild) for entry in seen.values()]
    return (
        sorted((guild for guild in registered if guild.present), key=lambda g: int(g.guild)),
        {key: decode(entry.value or b"", Assignment) for key, entry in assigned.items()},
    )


def text_of(registered: list[RegisteredGuild], owned: dict[str, Assignment]) -> str:
    """The list for people."""
    if not registered:
        return "the bot is in no guild yet"
    rows = []
    for guild in registered:
        owner = owned.get(guild.guild)
        place = (
            (owner.pod, str(owner.epoch), moment(owner.since_ms)) if owner else ("nobody", "", "")
        )
        rows.append((guild.guild, guild.name, *place))
    return columns(("guild", "name", "owner", "epoch", "since (UTC)"), rows)
