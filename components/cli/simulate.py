"""``modbot simulate``: whole clusters in virtual time, with everything that can go wrong."""

import argparse
import os
import sys
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.table import Table

from components.cli.errors import CommandError
from components.simulate.cluster import Shape
from components.simulate.run import Report, SeedResult, report, run_seed, run_seeds

TOLD_EVERY = 500


def main(arguments: list[str]) -> int:
    """Run the seeds; 0 only if no invariant was broken."""
    options = _parser().parse_args(arguments)
    first, last = _range(options.seeds)
    shape = Shape(pods=options.pods, configs=options.configs, guilds=options.guilds)
    if options.trace:
        if first != last:
            raise CommandError("--trace is for one seed: --seeds 47..47")
        lines: list[str] = []
        results = [run_seed(first, shape, lines)]
        print(os.linesep.join(lines), file=sys.stderr)
    else:
        results = list(_told(run_seeds(range(first, last + 1), shape, options.jobs)))
    summed = report(results)
    if options.json:
        print(msgspec.json.encode(summed).decode())
    else:
        _draw(summed)
    for failure in summed.failures:
        print(
            f"seed {failure.seed}, step {failure.step}, {failure.at_s:.3f} s: "
            f"{failure.invariant}: {failure.words}",
            file=sys.stderr,
        )
    if summed.failures:
        again = "".join(
            f" --{name} {value}"
            for name in ("pods", "configs", "guilds")
            if (value := getattr(options, name)) != getattr(Shape(), name)
        )
        seed = summed.failures[0].seed
        print(f"repeat: modbot simulate --seeds {seed}..{seed}{again} --trace", file=sys.stderr)
    return 0 if summed.ok else 1


def _told(results: Iterator[SeedResult]) -> Iterator[SeedResult]:
    broken = 0
    for number, result in enumerate(results, 1):
        broken += bool(result.violations)
        if number % TOLD_EVERY == 0:
            print(f"{number} seeds, {broken} with a violation", file=sys.stderr, flush=True)
        yield result


def _draw(summed: Report) -> None:
    table = Table(title=f"{summed.seeds} seeds, {summed.steps} steps")
    table.add_column("seen")
    table.add_column("times", justify="right")
    for name, count in summed.transitions.items():
        table.add_row(name, str(count))
    pairs = Table(title="rare pairs")
    pairs.add_column("seen")
    pairs.add_column("times", justify="right")
    for name, count in summed.rare.items():
        pairs.add_row(name, str(count))
    console = Console()
    console.print(table)
    console.print(pairs)
    checked = ", ".join(f"{count} {name}" for name, count in summed.checked.items())
    console.print(f"checked: {checked}; seeds with a violation: {len(summed.failures)}")


def _range(words: str) -> tuple[int, int]:
    first, dots, last = words.partition("..")
    try:
        found = int(first), int(last if dots else first)
    except ValueError as error:
        raise CommandError(f"--seeds {words!r} is not A..B") from error
    if found[0] > found[1]:
        raise CommandError(f"--seeds {words!r} is empty")
    return found


def _parser() -> argparse.ArgumentParser:
    shape = Shape()
    parser = argparse.ArgumentParser(
        prog="modbot simulate",
        description="Run the ownership machines of whole clusters in virtual time: messages late, "
        "lost, repeated and out of order, processes stopped and killed, clocks that drift, disks "
        "lost. The design's invariants are checked at every step; a seed is a run and repeats "
        "exactly. Exit code 0 only if none was broken.",
    )
    parser.add_argument("--seeds", default="1..200", help="A..B, both included")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the seeds")
    parser.add_argument("--pods", type=int, default=shape.pods)
    parser.add_argument("--configs", type=int, default=shape.configs)
    parser.add_argument("--guilds", type=int, default=shape.guilds)
    parser.add_argument("--trace", action="store_true", help="tell one seed's story on stderr")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser
