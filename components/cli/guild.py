"""``modbot guild ID …``: ask the guild's owner, as an operator."""

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from components.bus.connection import Bus
from components.bus.settings import BusSettings
from components.cli.asking import (
    answered,
    ask,
    ask_owner,
    bus_settings,
    guild_id,
    operator,
    print_json,
)
from components.cli.errors import CommandError
from components.cli.stack_options import add_home
from components.cli.text import columns, moment, pairs
from contracts import subjects
from contracts.ids import CaseNumber, GuildId, Sequence, UserId
from contracts.inputs import Actor
from contracts.message import encode
from contracts.operations import GuildPlacement, GuildQuery
from contracts.requests import (
    CaseList,
    CaseView,
    GetCase,
    GetGuildStatus,
    GetSettings,
    GuildStatus,
    ListCases,
    ListQuarantine,
    PutSettings,
    QuarantineList,
    Request,
    SettingsView,
    SkipParkedInput,
)

Question: TypeAlias = tuple[Request, type[Any], Callable[[Any], str]]


def main(arguments: list[str]) -> int:
    """Ask and print; returns the exit code."""
    options = _parser().parse_args(arguments)
    settings = bus_settings(options)
    if options.action in (None, "show"):
        placement, status = answered(_show(settings, options.guild))
        if options.json:
            print_json({"placement": placement, "status": status})
        else:
            print(_shown(placement, status))
        return 0
    request, kind, text_of = _question(options)
    answer = answered(_asked(settings, options.guild, request, kind))
    if options.json:
        print_json(answer)
    else:
        print(text_of(answer))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modbot guild",
        description="Look into one guild through its owner on the bus.",
    )
    _add_common(parser)
    parser.add_argument("guild", type=guild_id, metavar="ID", help="the guild's Discord id")
    # Understood before and after the action; what is not given there must not reset it.
    common = argparse.ArgumentParser(add_help=False)
    _add_common(common)
    for option in common._actions:
        option.default = argparse.SUPPRESS
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, purpose: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=purpose, description=purpose, parents=[common])

    action("show", "owner, epoch and state of the guild (the default)")
    settings = action("settings", "the guild's settings")
    what = settings.add_subparsers(dest="what", metavar="get|put", required=True)
    what.add_parser("get", help="print the settings in force", parents=[common])
    put = what.add_parser("put", help="replace the settings", parents=[common])
    put.add_argument("file", type=Path, help="a JSON document; - reads it from stdin")
    put.add_argument(
        "--expected-version", type=int, metavar="N", help="refuse if another version is in force"
    )
    cases = action("cases", "list cases, newest first")
    cases.add_argument("--user", metavar="ID", help="only of this member")
    cases.add_argument("--before", type=int, metavar="NUMBER", help="older than this case")
    cases.add_argument("--limit", type=int, default=50, metavar="N", help="1 to 200 (default 50)")
    action("case", "show one case").add_argument("number", type=int)
    action("quarantine", "list inputs that were set aside, and why")
    skip = action("skip", "let a parked guild go on without one input")
    skip.add_argument("sequence", type=int, help="the input that parked the guild")
    skip.add_argument("--reason", required=True, help="kept with the decision")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    parser.add_argument("--json", action="store_true", help="the answer, for a program to read")


def _question(options: argparse.Namespace) -> Question:
    actor = Actor(kind="operator", id=getpass.getuser())
    match options.action, getattr(options, "what", None):
        case "settings", "get":
            return GetSettings(), SettingsView, _settings_text
        case "settings", "put":
            document = msgspec.Raw(_document(options.file))
            version = options.expected_version
            put = PutSettings(actor=actor, settings=document, expected_version=version)
            return put, SettingsView, _settings_text
        case "cases", _:
            listed = ListCases(
                user=UserId(options.user) if options.user else None,
                before=CaseNumber(options.before) if options.before else None,
                limit=options.limit,
            )
            return listed, CaseList, _cases_text
        case "case", _:
            return GetCase(number=CaseNumber(options.number)), CaseView, _case_text
        case "quarantine", _:
            return ListQuarantine(), QuarantineList, _quarantine_text
        case _:
            sequence = Sequence(options.sequence)
            skip = SkipParkedInput(actor=actor, sequence=sequence, reason=options.reason)
            return skip, GuildStatus, _status_text


def _document(file: Path) -> bytes:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        msgspec.json.decode(data)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise CommandError(f"{file} is not JSON: {error}") from error
    return data


async def _asked(
    settings: BusSettings, guild: GuildId, request: Request, kind: type[Any]
) -> object:
    async with operator(settings) as bus:
        return await ask_owner(bus, guild, request, kind)


async def _show(settings: BusSettings, guild: GuildId) -> tuple[GuildPlacement, GuildStatus | None]:
    async with operator(settings) as bus:
        placement = await _placement(bus, guild)
        if placement.state == "waiting":
            return placement, None
        return placement, await ask_owner(bus, guild, GetGuildStatus(), GuildStatus)


async def _placement(bus: Bus, guild: GuildId) -> GuildPlacement:
    subject = subjects.config_endpoint("guild")
    return await ask(bus, subject, encode(GuildQuery(guild=guild)), GuildPlacement)


def _shown(placement: GuildPlacement, status: GuildStatus | None) -> str:
    name = placement.name or "guild"
    if status is None:
        head = f"{name} ({placement.guild}) waits: {placement.reason}"
    else:
        head = f"{name} ({placement.guild})\n\n{_status_text(status)}"
    history = [
        (moment(change.at_ms), change.epoch, change.pod, change.cause, change.by)
        for change in placement.history
    ]
    if not history:
        return head
    return f"{head}\n\n{columns(('since', 'epoch', 'pod', 'cause', 'by'), history)}"


def _status_text(status: GuildStatus) -> str:
    values: list[tuple[str, object]] = [
        ("owner", f"{status.pod}, epoch {status.epoch}"),
        ("applied", f"input {status.applied}, engine version {status.engine_version}"),
        ("cases", status.cases),
        ("effects waiting", f"{status.outbox_pending}, parked {status.outbox_parked}"),
        ("facts unpublished", status.facts_unpublished),
        ("inputs set aside", status.quarantined),
        ("session breaks", status.chain_breaks),
    ]
    if status.parked_at is not None:
        values.append(("parked", f"at input {status.parked_at}: {status.parked_reason}"))
    return pairs(values)


def _settings_text(view: SettingsView) -> str:
    document = msgspec.json.format(msgspec.json.encode(view.settings)).decode()
    by = f", changed by {view.changed_by.kind} {view.changed_by.id}" if view.changed_by else ""
    when = f" at {moment(view.changed_ms)} UTC" if view.changed_ms else ""
    print(f"version {view.version}{by}{when}", file=sys.stderr)
    return document  # alone on stdout, so that it can be edited and put back


def _cases_text(found: CaseList) -> str:
    rows = [
        (case.number, moment(case.opened_ms), case.user, case.username, case.action, case.status)
        for case in found.cases
    ]
    if not rows:
        return "no cases"
    text = columns(("case", "opened (UTC)", "user", "name", "action", "status"), rows)
    return f"{text}\n\nmore: --before {found.next_before}" if found.next_before else text


def _case_text(case: CaseView) -> str:
    by = (
        case.moderator_kind if case.moderator is None else f"{case.moderator_kind} {case.moderator}"
    )
    verdict = f"{case.tier}, {case.score} points" if case.tier is not None else ""
    points = (f"{signal.name.replace('_', ' ')} {signal.points:+d}" for signal in case.signals)
    lines = [
        ("case", f"{case.number} of guild {case.guild}"),
        ("member", f"{case.username} ({case.user})" if case.username else case.user),
        ("action", case.action.replace("_", " ")),
        ("until (UTC)", moment(case.until_ms) if case.until_ms is not None else ""),
        ("status", f"{case.status}: {case.error}" if case.error else case.status),
        ("opened (UTC)", moment(case.opened_ms)),
        ("by", by),
        ("reason", case.reason),
        ("signal of guild", case.source_guild or ""),
        ("verdict", verdict),
        ("signals", ", ".join(points)),
        ("channel", case.channel or ""),
        ("message", case.message or ""),
        ("thread", case.thread or ""),
    ]
    return pairs([line for line in lines if line[1]])


def _quarantine_text(found: QuarantineList) -> str:
    rows = [(item.sequence, moment(item.at_ms), item.kind, item.reason) for item in found.inputs]
    if not rows:
        return "no input was set aside"
    return columns(("input", "at (UTC)", "kind", "reason"), rows)
