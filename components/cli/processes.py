"""``modbot processes``: the plan of `modbot up`, as data (the Tiltfile reads it); and
``modbot processes restart``, one process after the other."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import msgspec

from components.binaries import MissingBinary
from components.cli.errors import CommandError
from components.cli.stack_options import add_counts, add_home, home_of, settings_of
from components.cli.up import words_of
from components.process import exits
from components.process.settings import InvalidSettings
from components.stack import plan, running
from components.stack.control import Ready, Restart, ask_restart
from components.stack.errors import StackError
from components.stack.installation import Installation, prepare
from components.stack.postgres import CannotPrepare


def main(arguments: list[str]) -> int:
    """Print the plan, or restart processes; returns the exit code."""
    if arguments[:1] == ["restart"]:
        return _restart(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="modbot processes",
        description="Print the processes that `modbot up` would start. Makes the keys, ports and "
        "folders that they need and starts nothing.",
        epilog="`modbot processes restart NAME...` restarts those of the stack that runs.",
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


def _restart(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="modbot processes restart",
        description="Restart processes of the running stack one by one. The next is stopped when "
        "the one before is ready, every guild has an owner and all copies of streams are current. "
        "Ctrl-C leaves the rest as it is.",
    )
    add_home(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="NAME", help="e.g. gateway-0")
    which.add_argument(
        "--all",
        action="store_true",
        help="all of them, servers first; not the simulated Discord, which lives in memory",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long each process may take to be ready again (default 120)",
    )
    options = parser.parse_args(arguments)
    home = Path(home_of(options)).resolve()
    stack = running.read(home)
    if stack is None or not stack.ready:
        raise CommandError(f"no stack is running with its data in {home}")
    request = Restart(names=options.names, within_s=options.within)
    try:
        asyncio.run(ask_restart(Path(stack.control), request, _tell))
    except StackError as error:
        raise CommandError(str(error)) from error
    return 0


def _tell(ready: Ready) -> None:
    print(f"{ready.name:<12} ready again after {ready.after_s:.1f} s", flush=True)


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
