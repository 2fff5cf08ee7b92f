"""``modbot ready COMPONENT REPLICA``: a readiness probe for what has no port of its own."""

import argparse

from components.bus.settings import BusSettings
from components.cli.asking import answered, bus_settings
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
    parser.add_argument("component", choices=("gateway", "shard", "config"))
    parser.add_argument("replica", help="its name, e.g. gateway-0")
    options = parser.parse_args(arguments)
    ready = answered(_ready(bus_settings(options), options.component, options.replica))
    print("ready" if ready else "not ready")
    return 0 if ready else 1


async def _ready(settings: BusSettings, component: str, replica: str) -> bool:
    readiness = Readiness(settings)
    probe = BusProbe(component=component, replica=replica)
    try:
        asked = Process(name=replica, label="modbot", command=[], probe=probe)
        return await readiness.is_ready(asked, 0)
    finally:
        await readiness.close()
