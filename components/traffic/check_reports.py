"""Holds the reports that verdicts must have led to against what was posted. Pure.

Every flagged message of a guild with a mod log has one header post, which links to the message,
in its author's thread; every flagged member has one thread, started from a message of the bot's
that mentions the member.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from components.simulator.record import Entry
from components.traffic.evidence import Evidence
from components.traffic.reading import flagged, rest_calls, succeeded
from contracts.ids import GuildId

_STARTER = re.compile(r"<@(\d+)>")
_THREAD = re.compile(r"/channels/(\d+)/messages/(\d+)/threads$")
_LINK = re.compile(r"https://discord\.com/channels/(\d+)/\d+/(\d+)$")


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what is wrong."""

    checked: int
    lost: list[str]
    doubled: list[str]


def check_reports(evidence: Evidence) -> Reports:
    """Look for the report of every verdict before the cut."""
    lost: list[str] = []
    doubled: list[str] = []
    checked = 0
    threads, bots = _threads(evidence)
    headers = _headers(evidence.record, bots)
    verdicts: dict[tuple[GuildId, str], tuple[str, int]] = {}
    for fact, verdict in flagged(evidence.facts):
        if fact.guild in evidence.mod_logs:
            # a later verdict, on an edit, is told under the header of the first
            told = (verdict.user, fact.input_sequence)
            verdicts.setdefault((fact.guild, verdict.message), told)
    for (guild, message), (user, sequence) in verdicts.items():
        what = f"report on message {message} of guild {guild}"
        places = headers[guild, message]
        if places.total() > 1:
            doubled.append(f"{what} x{places.total()}")
        if sequence > evidence.cut.inputs[guild]:
            continue
        checked += 1
        if not any(thread in places for thread in threads[guild, user]):
            lost.append(what if not places else f"{what} is not in the member's thread")
    for guild, user in {(guild, user) for (guild, _), (user, _) in verdicts.items()}:
        if len(threads[guild, user]) > 1:
            doubled.append(f"thread of member {user} of guild {guild} x{len(threads[guild, user])}")
    return Reports(checked=checked, lost=lost, doubled=doubled)


def _threads(evidence: Evidence) -> tuple[dict[tuple[str, str], list[str]], set[str]]:
    """The threads in the mod logs by (guild, member), and who started them: the bots.

    A thread that starts from a message has the message's id (docs: topics/threads)."""
    started: dict[str, str] = {}
    for entry in rest_calls(evidence.record, "POST", "/threads"):
        place = _THREAD.search(entry.data["path"])
        if place is not None and succeeded(entry):
            started[place[2]] = place[1]
    mod_logs = {channel: guild for guild, channel in evidence.mod_logs.items()}
    threads: dict[tuple[str, str], list[str]] = defaultdict(list)
    bots: set[str] = set()
    for entry in evidence.record:
        if entry.kind != "message_create" or entry.data["id"] not in started:
            continue
        guild = mod_logs.get(started[entry.data["id"]])
        member = _STARTER.search(entry.data["content"])
        if guild is not None and member is not None:
            threads[guild, member[1]].append(entry.data["id"])
            bots.add(entry.data["author_id"])
    return threads, bots


def _headers(record: Iterable[Entry], bots: set[str]) -> dict[tuple[str, str], Counter[str]]:
    """(guild, message) to how often a post of the bots', by channel, links to it. What the bots
    quote (lines that begin with ">") is the member's text."""
    headers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for entry in record:
        if entry.kind != "message_create" or entry.data["author_id"] not in bots:
            continue
        for line in entry.data["content"].split("\n"):
            link = None if line.startswith(">") else _LINK.search(line)
            if link is not None:
                headers[link[1], link[2]][entry.data["channel_id"]] += 1
    return headers
