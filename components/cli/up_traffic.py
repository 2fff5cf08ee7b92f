"""Members of the simulated Discord that post while `modbot up` runs."""

import argparse
from pathlib import Path

import aiohttp

from components.bus.errors import BusError
from components.cli.asking import operator, operator_of
from components.cli.errors import CommandError
from components.process import exits
from components.simulator.client import ControlError, SimulatorControl
from components.stack.running import RunningStack
from components.stack.screen import Screen
from components.traffic import corpus, journal
from components.traffic.driver import Progress, TrafficOptions, drive
from components.traffic.guilds import GuildsNotServed


def add_traffic(parser: argparse.ArgumentParser) -> None:
    """The options; without any, twenty guilds talk quietly."""
    defaults = TrafficOptions()
    traffic = parser.add_argument_group("members of the simulated Discord")
    traffic.add_argument(
        "--guilds",
        type=int,
        metavar="N",
        default=defaults.guilds,
        help=f"guilds to post in (default {defaults.guilds}; 0: nobody posts)",
    )
    traffic.add_argument(
        "--rate",
        type=float,
        metavar="R",
        default=defaults.rate,
        help=f"messages a second over all guilds (default {defaults.rate:g})",
    )
    traffic.add_argument(
        "--traffic",
        nargs="*",
        metavar="FILE",
        default=[],
        help="texts to post, once each: label<TAB>text lines (.tsv), JSON lines with text and "
        "labels (.jsonl) or plain lines; without it the project's own texts, over and over",
    )


def traffic_of(options: argparse.Namespace) -> TrafficOptions | None:
    """What to post; None for nothing. Raises `CommandError` for a file that cannot be read."""
    if options.guilds < 0 or options.rate <= 0:
        raise CommandError("--guilds must be 0 or more and --rate above 0", exits.CONFIG)
    if options.guilds == 0:
        if options.traffic:
            raise CommandError("--traffic needs --guilds of 1 or more", exits.CONFIG)
        return None
    traffic = TrafficOptions(guilds=options.guilds, rate=options.rate, files=tuple(options.traffic))
    try:
        corpus.read([Path(name) for name in traffic.files])
    except corpus.BadCorpus as error:
        raise CommandError(str(error), exits.CONFIG) from error
    return traffic


async def post(traffic: TrafficOptions, stack: RunningStack, screen: Screen) -> None:
    """Post until the texts are used up, or for ever. What goes wrong is said; the stack goes on."""
    path = Path(stack.home) / journal.NAME
    path.unlink(missing_ok=True)  # the simulator forgot what an earlier one saw

    def progress(done: Progress) -> None:
        total = f" of {done.total}" if done.total is not None else ""
        refused = f"; {done.refused} not: timed out or gone" if done.refused else ""
        screen.note(f"members posted {done.posted}{total} messages{refused}")

    try:
        async with (
            operator(operator_of(stack)) as bus,
            SimulatorControl(stack.urls["simulator"]) as control,
        ):
            done = await drive(control, bus, traffic, path, progress=progress)
    except (GuildsNotServed, ControlError, BusError, aiohttp.ClientError, TimeoutError) as error:
        screen.line(f"nobody posts any more: {error or type(error).__name__}", "bold red")
        return
    screen.line(
        f"all {done.posted} texts are posted; `modbot traffic report` says what became of them"
    )
