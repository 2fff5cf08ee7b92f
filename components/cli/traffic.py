"""``modbot traffic report``: what became of the texts that members posted."""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from components.bus.connection import Bus
from components.bus.settings import BusSettings
from components.cli.asking import answered, bus_settings, operator
from components.cli.errors import CommandError
from components.cli.stack_options import add_home, home_of
from components.process.clock import steady_s
from components.simulator.client import RecordCutShort, SimulatorControl
from components.stack import running
from components.traffic import journal
from components.traffic.check import MAY_COME
from components.traffic.evidence import cut, gather, unsettled
from components.traffic.report import TrafficReport, build, render


def main(arguments: list[str]) -> int:
    """Print the report; 0 only if nothing was lost, doubled or against the specification."""
    options = _parser().parse_args(arguments)
    home = Path(home_of(options)).resolve()
    stack = running.read(home)
    if stack is None or not stack.simulated:
        raise CommandError(
            f"no stack with a simulated Discord is running with its data in {home}: start one "
            "with `modbot up`"
        )
    posted = journal.read(home / journal.NAME)
    if posted is None or not posted.posts:
        raise CommandError(
            "nothing was posted yet: `modbot up` posts by itself, `modbot up --traffic FILE` "
            "posts the texts of a file"
        )
    try:
        report = answered(_report(bus_settings(options), stack.urls["simulator"], posted))
    except RecordCutShort as error:
        raise CommandError(str(error)) from error
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        render(report, Console(file=sys.stdout))
    return 0 if report.ok else 1


async def _report(settings: BusSettings, simulator: str, posted: journal.Journal) -> TrafficReport:
    async with operator(settings) as bus, SimulatorControl(simulator) as control:
        return await report_on(control, bus, posted)


async def report_on(
    control: SimulatorControl, bus: Bus, posted: journal.Journal, *, settle_s: float = 120.0
) -> TrafficReport:
    """The report on what happened up to now. What is missing when every dispatch is on its log
    and the guilds' owners have nothing left to do, or after ``settle_s``, is reported as lost."""
    guilds = sorted(posted.begun.inputs)
    moment = await cut(control, bus, guilds)
    until = steady_s() + settle_s
    while True:
        waiting = await unsettled(bus, guilds)  # asked before what it excuses is read
        evidence = await gather(control, bus, guilds, moment, begun=posted.begun.inputs)
        report = build(posted.posts, evidence)
        missing = any(report.violations[name] for name in MAY_COME)
        final = not waiting and not report.violations["inputs_lost"]
        if not missing or final or steady_s() > until:
            return report
        await asyncio.sleep(1.0)  # effects take as long as Discord's limits let them


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot traffic",
        description="What became of the texts that members posted, checked against the "
        "simulated Discord's own record. Exit code 0 only if nothing was lost or doubled.",
    )
    parser.add_argument("what", choices=["report"], help="report: the whole report")
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser
