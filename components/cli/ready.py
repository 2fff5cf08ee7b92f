"""``modbot ready COMPONENT REPLICA``: a readiness probe for what has no port of its own."""

import argparse
from pathlib import Path

from components.bus.settings import BusSettings
from components.cli.asking import answered, bus_settings, seed_in
from components.cli.stack_options import add_home
from components.stack.plan import BusProbe, Process
from components.stack.readiness import Readiness


def main(arguments: list[str]) -> int:
    """Exit code 0 when the replica serves, 1 when not (yet)."""
    parser = argparse.ArgumentParser(
        prog="modbot ready",
        description="Ask the bus whether a replica is ready. Exit code 0: yes; 1: no.",
    )
    add_home(parser)
    parser.add_argument("--nats", metavar="URL", help="the bus, instead of the running stack's")
    parser.add_argument("--seed-file", type=Path, help="of the bus user `operator`, with --nats")
    parser.add_argument("component", choices=("gateway", "shard", "config"))
    parser.add_argument("replica", help="its name, e.g. gateway-0")
    options = parser.parse_args(arguments)
    ready = answered(_ready(_bus(options), options.component, options.replica))
    print("ready" if ready else "not ready")
    return 0 if ready else 1


def _bus(options: argparse.Namespace) -> BusSettings:
    if not options.nats:
        return bus_settings(options)
    return BusSettings(url=options.nats, seed=seed_in(options.seed_file))


async def _ready(settings: BusSettings, component: str, replica: str) -> bool:
    readiness = Readiness(settings)
    probe = BusProbe(component=component, replica=replica)
    try:
        asked = Process(name=replica, label="modbot", command=[], probe=probe)
        return await readiness.is_ready(asked, 0)
    finally:
        await readiness.close()
