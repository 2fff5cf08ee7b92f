"""``modbot drill restore``: whether what is in the bucket would bring every guild back."""

import argparse
import sys
import tempfile
from pathlib import Path

from components.bus.settings import BusSettings
from components.cli.asking import answered, bus_settings, operator, print_json
from components.cli.backup_options import backup_required
from components.cli.errors import CommandError
from components.cli.stack_options import add_home
from components.cli.text import columns
from components.gateway.settings import BackupSettings
from components.gateway.shell.errors import BucketFailed
from components.restoring.drill import FINE, MARGIN_S, Drill, Driller, PodDrill
from components.stack.cluster import Cluster

SHOWN = 20
LIVE = ("serving", "draining")
"""States of pods that are drilled when none is named."""


def main(arguments: list[str]) -> int:
    """Drill; exit code 1 unless there are guilds, all that a pod owns are in its replica, and all
    that are in it equal their owners."""
    options = _parser().parse_args(arguments)
    backup = backup_required(options)
    drilled = answered(_drill(bus_settings(options), backup, options.pods))
    if options.json:
        print_json(drilled)
    else:
        print(text_of(drilled))
    return 0 if drilled.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot drill", description="Practise what is done after a loss; nothing is changed."
    )
    what = parser.add_subparsers(dest="what", metavar="restore", required=True)
    purpose = (
        "Restore each pod's replica into scratch, check it in full, and compare every guild in it, "
        "taken forward along its log, with its owner's rows. Exit code 0: all are equal, and every "
        f"guild that a pod has owned for {MARGIN_S:.0f} s is in its replica."
    )
    restore = what.add_parser("restore", help=purpose, description=purpose)
    add_home(restore)
    restore.add_argument(
        "--pod", action="append", dest="pods", metavar="POD", help="only this pod; may be repeated"
    )
    restore.add_argument("--json", action="store_true", help="everything, for a program to read")
    return parser


async def _drill(settings: BusSettings, backup: BackupSettings, pods: list[str] | None) -> Drill:
    async with operator(settings) as bus:
        leases = await Cluster(bus).pods()
        unknown = sorted(set(pods or ()) - set(leases))
        if unknown:
            raise CommandError(
                f"there is no pod {unknown[0]!r}; there are: {', '.join(sorted(leases)) or 'none'}"
            )
        replicas = {
            pod: lease.replica
            for pod, lease in sorted(leases.items())
            if lease.replica and (pod in pods if pods else lease.state in LIVE)
        }
        if not replicas:
            raise CommandError("none of the pods has a backup: see MODBOT_BACKUP_BUCKET")
        with tempfile.TemporaryDirectory(prefix="modbot-drill-") as scratch:
            driller = Driller(
                bus, backup, Path(scratch), lambda words: print(words, file=sys.stderr)
            )
            try:
                return await driller.drill(replicas)
            except BucketFailed as error:
                raise CommandError(str(error)) from error


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def text_of(drilled: Drill) -> str:
    """The drill for people."""
    rows = [
        (
            found.pod,
            "ok" if found.ok else "FAILED",
            found.owned,
            sum(guild.restored > 0 for guild in found.guilds),
            sum(guild.result == "equal" for guild in found.guilds),
            round(found.size / 1e6, 2),
            round(found.age_s, 1),
            round(found.restore_s, 2),
            round(found.compare_s, 2),
        )
        for found in drilled.pods
    ]
    headings = (
        "pod",
        "result",
        "owns",
        "holds",
        "equal",
        "MB",
        "age s",
        "restored in s",
        "compared in s",
    )
    parts = [columns(headings, rows), *filter(None, map(_wrong, drilled.pods))]
    parts.append(_verdict(drilled))
    return "\n\n".join(parts)


def _verdict(drilled: Drill) -> str:
    if not drilled.checked:
        return "nothing was compared: this says nothing about the backups"
    words = "see above"
    if drilled.ok:
        words = "all are equal"
        if absent := sum(guild.result == "not_yet" for x in drilled.pods for guild in x.guilds):
            words += f", and {absent} not compared that came to their pods too lately"
    age_s = max(found.age_s for found in drilled.pods)
    return (
        f"{drilled.checked} guilds were compared with their owners: {words}; the newest file of a"
        f" replica was up to {age_s:.1f} s old"
    )


def _wrong(found: PodDrill) -> str:
    """What is wrong with one pod's replica, or not compared, in words."""
    lines = []
    if not found.restored:
        lines.append(f"{found.replica} was not restored: {found.reason}")
    elif not found.newest:
        lines.append(
            f"{found.replica} was restored only up to transaction {found.transaction}:"
            f" {found.reason}"
        )
    elif found.reason:
        lines.append(f"{found.replica}: {found.reason}")
    wrong = [guild for guild in found.guilds if guild.result != "equal"]
    wrong.sort(key=lambda guild: guild.result in FINE)
    lines += [
        f"guild {guild.guild} {guild.result.replace('_', ' ')}: {guild.reason}"
        for guild in wrong[:SHOWN]
    ]
    if len(wrong) > SHOWN:
        lines.append(f"… and {len(wrong) - SHOWN} more (--json shows them)")
    return "\n".join(lines)
