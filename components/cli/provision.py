"""``modbot provision``: the streams and buckets of `contracts.storage`, created or updated."""

import argparse
import asyncio

from components.bus.connection import connect
from components.bus.errors import BusError, Refused
from components.bus.provisioning import ProvisioningSettings, provision
from components.bus.settings import BusSettings
from components.cli.errors import CommandError
from components.process import exits
from components.process.settings import InvalidSettings, load
from contracts import storage

INSUFFICIENT_STORAGE = 10047
"""err_code of nats-server: the stream's reservation does not fit."""


def main(arguments: list[str]) -> int:
    """Provision; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="modbot provision",
        description="Create the streams and buckets on NATS, or bring them up to date. What exists "
        "keeps its messages. Connects as the bus user `provisioner` "
        "(MODBOT_NATS_URL, MODBOT_NATS_SEED_FILE).",
    )
    parser.add_argument(
        "--replicas",
        type=int,
        help="copies of each stream: 3 in a cluster (MODBOT_NATS_REPLICAS; default: as many as "
        "there are)",
    )
    options = parser.parse_args(arguments)
    try:
        replicas = options.replicas or load(ProvisioningSettings, "NATS").replicas
        names = asyncio.run(_provision(load(BusSettings, "NATS"), replicas))
    except Refused as error:
        raise CommandError(_words_of(error), exits.CONFIG) from error
    except (InvalidSettings, BusError) as error:
        raise CommandError(str(error), exits.CONFIG) from error
    print(f"streams and buckets are in place: {', '.join(names)}")
    return 0


def _words_of(error: Refused) -> str:
    if error.err_code != INSUFFICIENT_STORAGE:
        return str(error)
    reserved = sum(stream["max_bytes"] for stream in storage.streams()) / 1024**3
    return (
        f"the disk of NATS is too small: the streams may grow to {reserved:.1f} GiB, NATS gives "
        "them three quarters of what is free; make room, or put its folder on another disk"
    )


async def _provision(settings: BusSettings, replicas: int) -> list[str]:
    bus = await connect(settings, user="provisioner", name="provision")
    try:
        return await provision(bus, replicas=replicas)
    finally:
        await bus.close()
