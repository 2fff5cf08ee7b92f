"""``modbot processes``: the plan of `modbot up`, as data. The Tiltfile reads it."""

import argparse
from typing import Any

import msgspec

from components.binaries import MissingBinary
from components.cli.errors import CommandError
from components.cli.stack_options import add_counts, add_home, settings_of
from components.cli.up import words_of
from components.process import exits
from components.process.settings import InvalidSettings
from components.stack import plan
from components.stack.errors import StackError
from components.stack.installation import Installation, prepare
from components.stack.postgres import CannotPrepare


def main(arguments: list[str]) -> int:
    """Print the plan; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="modbot processes",
        description="Print the processes that `modbot up` would start. Makes the keys, ports and "
        "folders that they need and starts nothing.",
    )
    add_home(parser)
    add_counts(parser)
    parser.add_argument("--json", action="store_true", help="everything, for a program to read")
    options = parser.parse_args(arguments)
    settings = settings_of(options)
    try:
        installation = prepare(settings, keep_ports=True)
    except (InvalidSettings, MissingBinary, CannotPrepare, StackError) as error:
        raise CommandError(str(error), exits.CONFIG) from error
    except OSError as error:
        raise CommandError(words_of(error)) from error
    found = plan.processes(settings, installation)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(described(found, installation))).decode())
        return 0
    for process in found:
        needs = f"  after {', '.join(process.needs)}" if process.needs else ""
        print(f"{process.name:<12} {plan.shown(process)}{needs}")
    return 0


def described(found: list[plan.Process], installation: Installation) -> dict[str, Any]:
    """The plan for a program: the processes, and how to ask those that are seen on the bus."""
    bus = ["--nats", installation.nats_url]
    bus += ["--seed-file", str(installation.files.seeds / "operator.nk")]
    ready = {
        process.name: plan.modbot("ready", *bus, process.probe.component, process.probe.replica)
        for process in found
        if isinstance(process.probe, plan.BusProbe)
    }
    return {"processes": found, "ready_commands": ready}
