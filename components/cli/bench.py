"""``modbot bench NAME``: measure the real stack beside a baseline in the same run."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from components.bench.event import EventOptions
from components.bench.placement import PlacementOptions, run_placement
from components.bench.ratelimit import RateLimitOptions, run_ratelimit
from components.bench.result import BenchResult
from components.bench.run import run_event
from components.cli.errors import CommandError
from components.stack.live import StackDidNotStart


def main(arguments: list[str]) -> int:
    """Measure; 0 only if every figure keeps its limit."""
    options = _parser().parse_args(arguments)
    result = MEASUREMENTS[options.name](options)
    if options.json:
        print(msgspec.json.encode(result).decode())
    else:
        _draw(result)
    return 0 if result.ok else 1


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _placement(options: argparse.Namespace) -> BenchResult:
    return run_placement(PlacementOptions(seed=options.seed), _say)


def _event(options: argparse.Namespace) -> BenchResult:
    measured = EventOptions(
        guilds=options.guilds,
        rate=options.rate,
        blocks=options.blocks,
        block_s=options.block_s,
        seed=options.seed,
    )

    return _on_a_stack(lambda home: run_event(home, measured, _say))


def _ratelimit(options: argparse.Namespace) -> BenchResult:
    measured = RateLimitOptions(seed=options.seed)
    return _on_a_stack(lambda home: run_ratelimit(home, measured, _say))


MEASUREMENTS: Final[dict[str, Callable[[argparse.Namespace], BenchResult]]] = {
    "event": _event,
    "placement": _placement,
    "ratelimit": _ratelimit,
}


def _on_a_stack(run: Callable[[Path], Coroutine[Any, Any, BenchResult]]) -> BenchResult:
    with tempfile.TemporaryDirectory(prefix="modbot-bench-") as folder:
        try:
            return asyncio.run(run(Path(folder)))
        except StackDidNotStart as error:
            raise CommandError(f"the stack did not start:{os.linesep}{error}") from error


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
    defaults = EventOptions()
    parser = argparse.ArgumentParser(
        prog="modbot bench",
        description="Measure the real stack, started for this in a folder of its own. Exit code "
        "0 only if every figure keeps its limit.",
    )
    parser.add_argument(
        "name",
        choices=list(MEASUREMENTS),
        help="event: from a message on Discord's socket to the REST call that deletes it, beside "
        "a bare discord.py bot; placement: planning 1,000 to 100,000 guilds over 100 pods, beside "
        "placing all anew (starts no stack); ratelimit: how much of Discord's rate four pods use "
        "for one hot guild, beside the even split",
    )
    parser.add_argument("--guilds", type=int, default=defaults.guilds, help="guilds for each bot")
    parser.add_argument("--rate", type=float, default=defaults.rate, help="messages a second")
    parser.add_argument("--blocks", type=int, default=defaults.blocks, help="blocks for each bot")
    parser.add_argument("--block-s", type=float, default=defaults.block_s, help="seconds a block")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser
