"""``modbot status``: what config knows of pods and guilds."""

import argparse

from components.bus.errors import NoOwner
from components.bus.settings import BusSettings
from components.cli.asking import answered, ask, bus_settings, operator, print_json
from components.cli.errors import CommandError
from components.cli.stack_options import add_home
from components.cli.text import columns, kept, pruning
from components.cli.watch_text import is_critical, watch_parts
from contracts import subjects
from contracts.operations import ClusterStatus

SHOWN_WAITING = 20
HEADINGS = (
    "pod",
    "state",
    "guilds",
    "open",
    "capacity",
    "inputs/s",
    "backup lag s",
    "kept",
    "pruned",
)


def main(arguments: list[str]) -> int:
    """Print the status; exit code 1 when a guild waits, a pod is away or an alarm is critical."""
    parser = argparse.ArgumentParser(
        prog="modbot status",
        description="Show pods, how many guilds they serve, which guilds wait and why, alarms, and "
        "the nodes of a NATS cluster. Exit code 0: everything is served and no alarm is critical.",
    )
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="everything, for a program to read")
    options = parser.parse_args(arguments)
    status = answered(_status(bus_settings(options)))
    if options.json:
        print_json(status)
    else:
        print(text_of(status))
    away = any(pod.state == "away" for pod in status.pods)
    return 1 if status.waiting_total or away or is_critical(status) else 0


async def _status(settings: BusSettings) -> ClusterStatus:
    async with operator(settings) as bus:
        try:
            return await ask(bus, subjects.config_endpoint("status"), b"{}", ClusterStatus)
        except NoOwner as error:
            raise CommandError(
                "no config process answers: look at its log, or start it (modbot run config)"
            ) from error


def text_of(status: ClusterStatus) -> str:
    """The status for people."""
    rows = [
        (
            pod.pod,
            pod.state,
            pod.guilds,
            pod.open,
            pod.capacity,
            round(pod.applied_per_s, 1),
            round(pod.backup_lag_s, 2),
            kept(pod),
            pruning(pod),
        )
        for pod in status.pods
    ]
    parts = [
        f"{status.guilds} guilds, {len(status.pods)} pods, database {status.database}",
        f"leader {status.leader or 'none'}, answered by {status.replica}",
        columns(HEADINGS, rows),
        *watch_parts(status),
    ]
    if status.waiting_total:
        shown = status.waiting[:SHOWN_WAITING]
        waiting = [(guild.guild, guild.name, guild.pod or "", guild.reason) for guild in shown]
        parts += [
            f"{status.waiting_total} guilds wait:",
            columns(("guild", "name", "pod", "reason"), waiting),
        ]
        if status.waiting_total > len(shown):
            parts.append(
                f"… and {status.waiting_total - len(shown)} more (--json shows up to 1,000)"
            )
    return "\n\n".join(parts)
