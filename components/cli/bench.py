"""``modbot bench NAME``: measure the real stack beside a baseline in the same run.

Every measurement has its options as a struct; its fields are the command's options.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from components.bench.backup import BackupOptions, run_backup
from components.bench.capacity import CapacityOptions, run_capacity
from components.bench.event import EventOptions
from components.bench.failover import FailoverOptions, run_failover
from components.bench.handoff import HandoffOptions, run_handoff
from components.bench.placement import PlacementOptions, run_placement
from components.bench.ratelimit import RateLimitOptions, run_ratelimit
from components.bench.rebalance import RebalanceOptions, run_rebalance
from components.bench.result import BenchResult
from components.bench.run import run_event
from components.bench.scale import ScaleOptions, run_scale
from components.chaos.arena import NotInTime
from components.cli.errors import CommandError
from components.stack.live import StackDidNotStart

Say = Callable[[str], None]


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement: what it is about, its options, how it is run in a folder of its own."""

    words: str
    options: type[msgspec.Struct]
    run: Callable[[Path, Any, Say], Awaitable[BenchResult]]


async def _placement(_: Path, options: PlacementOptions, say: Say) -> BenchResult:
    return run_placement(options, say)


MEASUREMENTS: Final[dict[str, Measurement]] = {
    "backup": Measurement(
        words="the age of the oldest commit that is not in the bucket, with steady writes, beside "
        "a plain database",
        options=BackupOptions,
        run=run_backup,
    ),
    "capacity": Measurement(
        words="what one pod can carry: memory, opening, catching up, following, takeover",
        options=CapacityOptions,
        run=run_capacity,
    ),
    "event": Measurement(
        words="from a message on Discord's socket to the REST call that deletes it, beside a bare "
        "discord.py bot",
        options=EventOptions,
        run=run_event,
    ),
    "failover": Measurement(
        words="from the death of a pod to answers, effects and interactions of its guilds, beside "
        "the time until the pod itself is back",
        options=FailoverOptions,
        run=run_failover,
    ),
    "handoff": Measurement(
        words="how long a guild pauses when it moves, beside the same questions without a move",
        options=HandoffOptions,
        run=run_handoff,
    ),
    "placement": Measurement(
        words="planning 1,000 to 100,000 guilds over 100 pods, beside placing all anew (starts no "
        "stack)",
        options=PlacementOptions,
        run=_placement,
    ),
    "ratelimit": Measurement(
        words="how much of Discord's rate four pods use for one hot guild, beside the even split",
        options=RateLimitOptions,
        run=run_ratelimit,
    ),
    "rebalance": Measurement(
        words="how soon guilds are spread over one pod more, beside placing as many new ones",
        options=RebalanceOptions,
        run=run_rebalance,
    ),
    "scale": Measurement(
        words="what 1,000 to 100,000 guilds cost config: start-up and memory, beside none",
        options=ScaleOptions,
        run=run_scale,
    ),
}


def main(arguments: list[str]) -> int:
    """Measure; 0 only if every figure keeps its limit."""
    given = _parser().parse_args(arguments)
    measurement = MEASUREMENTS[given.name]
    fields = {field.name: getattr(given, field.name) for field in _fields(measurement.options)}
    options = msgspec.convert(fields, measurement.options)
    result = _measured(measurement, options)
    if given.json:
        print(msgspec.json.encode(result).decode())
    else:
        _draw(result)
    return 0 if result.ok else 1


def _measured(measurement: Measurement, options: msgspec.Struct) -> BenchResult:
    """The figures. The stack of a measurement that ended because something did not happen in time
    is kept, for its logs."""
    home = Path(tempfile.mkdtemp(prefix="modbot-bench-"))

    async def measure() -> BenchResult:
        return await measurement.run(home, options, _say)

    keep = False
    try:
        return asyncio.run(measure())
    except StackDidNotStart as error:
        raise CommandError(f"the stack did not start:{os.linesep}{error}") from error
    except NotInTime as error:
        keep = True
        raise CommandError(
            f"the measurement ended: {error}{os.linesep}the logs of its stack are kept in {home}"
        ) from error
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _draw(result: BenchResult) -> None:
    table = Table(title=f"{result.bench}: {result.checked} checked, seed {result.seed}")
    for column in ("figure", "value", "limit", "baseline"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for figure in result.figures:
        least = "at least " if figure.at_least else ""
        limit = "" if figure.limit is None else f"{least}{figure.limit:g} {figure.unit}"
        base = figure.baseline
        beside = "" if base is None else f"{base.value:g} {figure.unit} ({base.name})"
        colour = "green" if figure.ok else "red"
        table.add_row(figure.name, f"[{colour}]{figure.value:g}[/] {figure.unit}", limit, beside)
    Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot bench",
        description="Measure the real stack, started for this in a folder of its own. Exit code "
        "0 only if every figure keeps its limit. `modbot bench NAME --help` shows the options of "
        "one; the defaults are the sizes that figures are quoted for.",
    )
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, measurement in MEASUREMENTS.items():
        one = names.add_parser(
            name,
            help=measurement.words,
            description=f"{measurement.words[0].upper()}{measurement.words[1:]}.",
            epilog=(measurement.options.__doc__ or "").replace("``", ""),
        )
        for field in _fields(measurement.options):
            _add(one, field.name, field.default)
        one.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def _fields(options: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(options)


def _add(parser: argparse.ArgumentParser, name: str, default: Any) -> None:
    """The option of a field; a tuple's takes several values."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(default, tuple):
        shown = " ".join(str(one) for one in default)
        parser.add_argument(
            flag, type=type(default[0]), nargs="+", default=default, help=f"default: {shown}"
        )
    else:
        parser.add_argument(flag, type=type(default), default=default, help=f"default: {default}")
