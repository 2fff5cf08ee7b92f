"""``modbot provision``: the streams and buckets of `contracts.storage`, created or updated."""

import argparse
import asyncio

from components.bus.connection import connect
from components.bus.errors import BusError
from components.bus.provisioning import provision
from components.bus.settings import BusSettings
from components.cli.errors import CommandError
from components.process import exits
from components.process.settings import InvalidSettings, load


def main(arguments: list[str]) -> int:
    """Provision; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="modbot provision",
        description="Create the streams and buckets on NATS, or bring them up to date. What exists "
        "keeps its messages. Connects as the bus user `provisioner` "
        "(MODBOT_NATS_URL, MODBOT_NATS_SEED_FILE).",
    )
    parser.add_argument(
        "--replicas", type=int, default=1, help="copies of each stream, in a cluster (default 1)"
    )
    options = parser.parse_args(arguments)
    try:
        names = asyncio.run(_provision(load(BusSettings, "NATS"), options.replicas))
    except (InvalidSettings, BusError) as error:
        raise CommandError(str(error), exits.CONFIG) from error
    print(f"streams and buckets are in place: {', '.join(names)}")
    return 0


async def _provision(settings: BusSettings, replicas: int) -> list[str]:
    bus = await connect(settings, user="provisioner", name="provision")
    try:
        return await provision(bus, replicas=replicas)
    finally:
        await bus.close()
