"""``modbot restore guild ID --at TIME``: a guild as it was, and parts of that put back.

Without ``--apply`` nothing is changed. What is put back is an act on the guild's log with an
author; ``--undo NAME`` takes the last one back.
"""

import argparse
import asyncio
import getpass
import secrets
import sys
import tempfile
from pathlib import Path
from typing import get_args

import msgspec

from components.bus.connection import Bus
from components.bus.settings import BusSettings
from components.cli import restore_text
from components.cli.asking import answered, bus_settings, guild_id, operator, print_json
from components.cli.backup_options import backup_settings
from components.cli.errors import CommandError
from components.cli.stack_options import add_home
from components.gateway.settings import BackupSettings
from components.gateway.shell.errors import BucketFailed
from components.process.clock import wall_ms
from components.restoring import moments
from components.restoring.bases import Base
from components.restoring.difference import Change, rows_for
from components.restoring.errors import RestoringError
from components.restoring.putting_back import put_back, undo
from components.restoring.rebuild import Rebuilt, Today, rebuilt
from contracts.ids import GuildId, Sequence
from contracts.inputs import Actor
from contracts.requests import RestorePart, RestoreView

Options = argparse.Namespace


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints. ``rebuilt_to``: the last input of then; ``replayed``: inputs from
    the base to it."""

    guild: GuildId
    at_ms: int
    at: str
    earliest_ms: int
    earliest: str
    base: Base
    rebuilt_to: Sequence
    replayed: int
    today: Today
    applied: RestoreView | None = None
    ok: bool


def main(arguments: list[str]) -> int:
    """Rebuild, show, put back; exit code 1 when today's state is not the owner's."""
    options = _parser().parse_args(arguments)
    bus = bus_settings(options)
    if options.undo:
        view = answered(_undo(bus, options))
        if options.json:
            print_json(view)
        else:
            print(restore_text.done(view))
        return 0
    report = answered(_restore(bus, backup_settings(options), options))
    if options.json:
        print_json(report)
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot restore", description="Bring back a guild's state of an earlier time."
    )
    what = parser.add_subparsers(dest="what", metavar="guild", required=True)
    purpose = (
        "Rebuild the guild as it was (a backup, then its log until that time), show what differs "
        "from today and, with --apply, put parts back. Rows that came into being since stay."
    )
    guild = what.add_parser("guild", help=purpose, description=purpose)
    guild.add_argument("guild", type=guild_id, metavar="ID", help="the guild's Discord id")
    how = guild.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--at", metavar="TIME", help="2026-01-31T17:30:00Z (UTC if it says nothing), or 10m ago"
    )
    how.add_argument("--undo", metavar="NAME", help="take back the guild's last restore")
    guild.add_argument(
        "--apply",
        type=_parts,
        default=[],
        metavar="PARTS",
        help=f"put back these: {','.join(get_args(RestorePart))} (there are no tickets yet)",
    )
    guild.add_argument("--yes", action="store_true", help="put back without asking")
    guild.add_argument("--by", default=getpass.getuser(), metavar="NAME", help="who does it")
    guild.add_argument("--json", action="store_true", help="everything, for a program to read")
    add_home(guild)
    return parser


def _parts(text: str) -> list[RestorePart]:
    known: tuple[RestorePart, ...] = get_args(RestorePart)
    named = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := sorted(set(named) - set(known)):
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are: {', '.join(known)}")
    return [part for part in known if part in named]


async def _undo(settings: BusSettings, options: Options) -> RestoreView:
    async with operator(settings) as bus:
        try:
            return await undo(bus, options.guild, options.undo, _actor(options))
        except RestoringError as error:
            raise CommandError(str(error)) from error


async def _restore(
    settings: BusSettings, backup: BackupSettings | None, options: Options
) -> Report:
    now_ms = wall_ms()
    try:
        at_ms = moments.parse(options.at, now_ms)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if at_ms > now_ms:
        raise CommandError(f"{moments.shown(at_ms)} is not past yet")
    with tempfile.TemporaryDirectory(prefix="modbot-restore-") as scratch:
        try:
            async with (
                operator(settings) as bus,
                rebuilt(bus, backup, options.guild, at_ms, Path(scratch), _say) as then,
            ):
                return await _shown(bus, then, options, at_ms)
        except (RestoringError, BucketFailed) as error:
            raise CommandError(str(error)) from error


async def _shown(bus: Bus, then: Rebuilt, options: Options, at_ms: int) -> Report:
    today = await then.now()
    report = Report(
        guild=options.guild,
        at_ms=at_ms,
        at=moments.shown(at_ms),
        earliest_ms=then.base.earliest_ms,
        earliest=moments.shown(then.base.earliest_ms),
        base=then.base,
        rebuilt_to=then.sequence,
        replayed=then.replayed,
        today=today,
        ok=today.equal is not False,
    )
    tell = _say if options.json else print
    tell(restore_text.shown(report))
    if not options.apply:
        return report
    if not today.equal:
        raise CommandError(
            "nothing is put back: today's state was rebuilt too, and is not what the owner has"
            if today.equal is False
            else "nothing is put back: the guild has no owner to do it"
        )
    today = await _confirmed(then, today, options)
    rows = rows_for(then.then, today.changes, options.apply, _actor(options))
    if not rows:
        tell("nothing is to be put back")
        return msgspec.structs.replace(report, today=today)
    view = await put_back(
        bus,
        options.guild,
        rows,
        restore=f"{moments.shown(wall_ms())}-{secrets.token_hex(3)}",
        at_ms=at_ms,
        parts=options.apply,
        actor=_actor(options),
    )
    tell(restore_text.done(view))
    return msgspec.structs.replace(report, today=today, applied=view)


async def _confirmed(then: Rebuilt, today: Today, options: Options) -> Today:
    """What the operator agreed to. The guild goes on while a person thinks: what would be put back
    is looked at again after the answer and, if it is no longer what was shown, shown again."""
    while not options.yes:
        if not sys.stdin.isatty():
            raise CommandError("nobody is here to confirm: add --yes, or leave --apply away")
        question = f"put back {' and '.join(options.apply)} of guild {options.guild}? [y/N] "
        print(question, end="", file=sys.stderr, flush=True)
        if (await asyncio.to_thread(sys.stdin.readline)).strip().lower() not in ("y", "yes"):
            raise CommandError("nothing is put back")
        again = await then.now()
        if _put_back(again, options) == _put_back(today, options) and again.equal:
            return again
        _say("the guild went on meanwhile; this is the difference now:")
        _say(restore_text.difference(again.changes))
        today = again
    return today


def _put_back(today: Today, options: Options) -> list[Change]:
    return [change for change in today.changes if change.part in options.apply and not change.stays]


def _actor(options: Options) -> Actor:
    return Actor(kind="operator", id=options.by)


def _say(words: str) -> None:
    print(words, file=sys.stderr)
