"""``modbot chaos SCENARIO``: break the real stack on purpose and check the whole history."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from components.chaos.results import ChaosResult
from components.chaos.run import run
from components.chaos.scenarios import SCENARIOS
from components.chaos.table import markdown
from components.cli.errors import CommandError
from components.stack.live import StackDidNotStart


def main(arguments: list[str]) -> int:
    """Play the rounds; 0 only if all that were asked for were played and checked, without a
    violation in any of them."""
    options = _parser().parse_args(arguments)
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<24} {scenario.words}")
        return 0
    if options.table:
        kept = [_kept(Path(name)) for name in options.table]
        whole = [one for one in kept if isinstance(one, ChaosResult)]
        print(markdown(whole, [one for one in kept if isinstance(one, str)]))
        return 0
    if options.scenario is None:
        raise CommandError("name a scenario; `modbot chaos --list` lists them", 64)
    home = Path(options.home or tempfile.mkdtemp(prefix="modbot-chaos-")).resolve() / "stack"

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    say(f"{options.scenario}, seed {options.seed}, in {home.parent}")

    async def play() -> ChaosResult:
        task = asyncio.current_task()
        assert task is not None
        # as Ctrl-C: what was played is told, and the stack is not left behind
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run(
            SCENARIOS[options.scenario],
            seed=options.seed,
            rounds=options.rounds,
            home=home,
            say=say,
        )

    try:
        result = asyncio.run(play())
    except StackDidNotStart as error:
        raise CommandError(f"the stack did not start:{os.linesep}{error}") from error
    if options.json:
        print(msgspec.json.encode(result).decode())
    else:
        _draw(result)
    if not result.ok:
        say(
            f"repeat: modbot chaos {result.scenario} --seed {result.seed} "
            f"--rounds {result.repeat_rounds or 1} (evidence: {result.evidence})"
        )
    return 0 if result.ok else 1


def _kept(file: Path) -> ChaosResult | str:
    """The result, or why there is none: a stack that did not start leaves an empty file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=ChaosResult)
    except (OSError, msgspec.MsgspecError) as error:
        return f"{file} is not what `modbot chaos --json` printed: {error}"


def _draw(result: ChaosResult) -> None:
    checked = ", ".join(
        f"{getattr(result.checked, name)} {name}" for name in result.checked.__struct_fields__
    )
    table = Table(title=f"{result.scenario}: {result.rounds} rounds, seed {result.seed}")
    table.add_column("violation")
    table.add_column("found", justify="right")
    for name, count in result.violations.items():
        table.add_row(name.replace("_", " "), f"[{'red' if count else 'green'}]{count}[/]")
    console = Console()
    console.print(table)
    console.print(f"checked: {checked}")
    for name in ("reads", "effects"):
        of = getattr(result.unowned_s, name)
        console.print(
            f"without an owner, {name}: p50 {of.p50} s, p99 {of.p99} s, max {of.max} s "
            f"over {of.measured} guilds"
        )
    if result.struck:
        times = ", ".join(f"{name} {count}" for name, count in result.struck.items())
        console.print(f"rounds in which a fault struck: {times}", markup=False)
    console.print(f"a round took: p50 {result.round_s.p50} s, max {result.round_s.max} s")
    for name, examples in result.examples.items():
        console.print(f"{name}: {'; '.join(examples)}", markup=False)
    if result.commit:
        console.print(f"commit {result.commit}")
    for words in result.not_played:
        console.print(words, markup=False)


def _parser() -> argparse.ArgumentParser:
    width = max(len(name) for name in SCENARIOS)
    lines = [f"  {name:<{width}}  {one.words}" for name, one in SCENARIOS.items()]
    parser = argparse.ArgumentParser(
        prog="modbot chaos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Start the real stack in a folder of its own, put mixed traffic on it, do the\n"
        "harm at a random moment, let it settle and check the whole history: the\n"
        "simulated Discord's record, INPUTS, EVENTS, every database and the clients' log.\n"
        "Exit code 0 only without any violation.",
        epilog="scenarios:\n" + "\n".join(lines),
    )
    parser.add_argument("scenario", nargs="?", choices=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--table", nargs="+", metavar="FILE", help="kept results (--json) as a Markdown table"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all random choices (default 1)")
    parser.add_argument(
        "--rounds", type=int, default=1, metavar="K", help="default 1; 0: until Ctrl-C"
    )
    parser.add_argument("--home", metavar="FOLDER", help="for the stack and the evidence")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser
