"""Finds acts of owners that were none any more. Pure.

The log says who owned a guild when: each `OwnerOpened` names epoch, pod and incarnation. A call to
Discord names the process that made it. It is stale when

- its process had not opened the guild at any epoch before it, or
- the owner of a later epoch had made a call for the guild before it, or
- its process was fenced longer ago than the holder of its lease may act, or
- its epoch had been declared silent.

Two owners at one time: two processes at one epoch, a fact or an answer of an epoch that began
behind a later one, a fact or an acknowledged write of an earlier epoch behind the beginning of a
later one, an answer of an owner that had applied the beginning of a later epoch and still spoke for
its own. (The beginning alone is a word too late: whoever says it meets the later epoch before it
may serve, 0006, step 6.) And an answer to a question that was asked when its owner, by fence or
silence, could not answer any more; until then a reply of an owner that does not know yet of the
next one is behind, not wrong.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from components.chaos.clients import Asked
from components.chaos.probes import Answered
from components.chaos.watching import Fence
from components.simulator.record import Entry
from components.traffic.evidence import Evidence
from contracts.ids import GuildId
from contracts.inputs import OwnerOpened

MARGIN_S = 0.5
"""A fenced pod's last renewal was sent before the fence was written, and its holder stops TTL
less this after it was sent (0006, step 1; `GatewaySettings.lease_margin_s`)."""
SEEN_LATE_MS = 50.0
"""The record and the watches are of different processes: differences below this say nothing."""

_CALLER = re.compile(r" (gateway-\d+)/(\S+)$")
_CHANNEL = re.compile(r"^/channels/(\d+)")
_GUILD = re.compile(r"^/guilds/(\d+)")
_WEBHOOK = re.compile(r"^/webhooks/\d+/([^/]+)")


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of an epoch on a guild's log."""

    epoch: int
    pod: str
    incarnation: str
    sequence: int
    at_ms: int


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """A call to Discord on a guild's behalf."""

    guild: GuildId
    pod: str
    incarnation: str
    at_ms: float
    what: str


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """A stale act and why it is one."""

    act: Act
    words: str


def openings(evidence: Evidence) -> dict[GuildId, list[Opening]]:
    """The epochs of every guild, in the log's order."""
    found: dict[GuildId, list[Opening]] = defaultdict(list)
    for item in evidence.inputs:
        if isinstance(item.body, OwnerOpened):
            found[item.guild].append(
                Opening(
                    epoch=item.body.epoch,
                    pod=item.body.pod,
                    incarnation=item.body.incarnation,
                    sequence=item.sequence,
                    at_ms=item.stored_ms,
                )
            )
    return found


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The guilds of a round, by what a call may name."""

    guilds: frozenset[GuildId]
    channels: Mapping[str, GuildId] = {}
    tokens: Mapping[str, GuildId] = {}
    """Of interactions."""


def acts(record: Sequence[Entry], places: Places) -> tuple[list[Act], int]:
    """The calls that change something, of gateways, in the order of their arrival, and how many
    there were beyond those: calls that name no guild of the round. First answers to interactions
    are exempt: their token makes them single."""
    found: list[Act] = []
    elsewhere = 0
    threads: dict[str, GuildId] = {}
    for entry in sorted(record, key=lambda entry: (entry.at_ms, entry.n)):
        if entry.kind != "rest" or entry.data["method"] == "GET":
            continue
        caller = _CALLER.search(entry.data.get("caller") or "")
        path = entry.data["path"]
        if caller is None or path.startswith("/interactions/"):
            continue
        guild = _guild_of(path, places, threads)
        if guild is None or guild not in places.guilds:
            elsewhere += 1
            continue
        what = f"{entry.data['method']} {path}"
        if path.endswith("/threads"):
            threads[path.split("/")[4]] = guild  # a thread has its message's id
        found.append(
            Act(guild=guild, pod=caller[1], incarnation=caller[2], at_ms=entry.at_ms, what=what)
        )
    return found, elsewhere


def _guild_of(path: str, places: Places, threads: Mapping[str, GuildId]) -> GuildId | None:
    if (place := _CHANNEL.match(path)) is not None:
        return places.channels.get(place[1]) or threads.get(place[1])
    if (place := _WEBHOOK.match(path)) is not None:
        return places.tokens.get(place[1])
    if (place := _GUILD.match(path)) is not None:
        return GuildId(place[1])
    return None


def stale_acts(
    done: Iterable[Act],
    opened: Mapping[GuildId, Sequence[Opening]],
    fences: Mapping[tuple[str, str], Fence],
    silences: Mapping[tuple[GuildId, int], float],
) -> list[Stale]:
    """The acts that no owner may have made; ``done`` in the order of arrival."""
    latest: dict[GuildId, int] = {}
    found: list[Stale] = []
    for act in done:
        epoch = _epoch_of(act, opened.get(act.guild, ()))
        if epoch is None:
            words = "its process had not opened the guild"
        elif epoch < latest.get(act.guild, 0):
            words = f"epoch {epoch}, after an act of epoch {latest[act.guild]}"
        else:
            fence = fences.get((act.pod, act.incarnation))
            words = _too_late(act.at_ms, epoch, fence, silences.get((act.guild, epoch)))
        if words:
            found.append(Stale(act=act, words=words))
        elif epoch is not None:
            latest[act.guild] = max(latest.get(act.guild, 0), epoch)
    return found


def _too_late(at_ms: float, epoch: int, fence: Fence | None, silent_ms: float | None) -> str:
    """Words if by then the epoch's owner could not act any more; else nothing."""
    if fence is not None and at_ms > _acts_until_ms(fence):
        return f"{(at_ms - fence.seen_ms) / 1000:.2f} s after its fence"
    if silent_ms is not None and at_ms > silent_ms + SEEN_LATE_MS:
        return f"{at_ms - silent_ms:.0f} ms after epoch {epoch} was declared silent"
    return ""


def _acts_until_ms(fence: Fence) -> float:
    return fence.seen_ms + (fence.ttl_s - MARGIN_S) * 1000 + SEEN_LATE_MS


def _epoch_of(act: Act, opened: Sequence[Opening]) -> int | None:
    """The highest epoch that the act's process had opened by then."""
    return max(
        (
            opening.epoch
            for opening in opened
            if (opening.pod, opening.incarnation) == (act.pod, act.incarnation)
            and opening.at_ms <= act.at_ms + SEEN_LATE_MS
        ),
        default=None,
    )


def two_owners(
    evidence: Evidence,
    opened: Mapping[GuildId, Sequence[Opening]],
    answers: Iterable[Answered],
    asked: Iterable[Asked],
) -> list[str]:
    """Guilds that had two owners at one time, in words."""
    found: list[str] = []
    spoke = [(a.guild, a.epoch, a.applied, "an answer") for a in answers]
    spoke += [
        (a.guild, a.epoch, a.applied, f"the answer to {a.client}'s {a.kind}")
        for a in asked
        if a.served
    ]
    served = {(guild, epoch) for guild, epoch, _, _ in spoke}
    served |= {(fact.guild, fact.epoch) for fact in evidence.facts}
    for guild, all_of_it in opened.items():
        holders: dict[int, tuple[str, str]] = {}
        highest = 0
        for opening in all_of_it:
            who = (opening.pod, opening.incarnation)
            begins = opening.epoch not in holders
            if holders.setdefault(opening.epoch, who) != who:
                found.append(f"guild {guild}: epoch {opening.epoch} of {who} and of another")
            if begins and opening.epoch < highest and (guild, opening.epoch) in served:
                found.append(f"guild {guild}: epoch {opening.epoch} began after {highest}")
            highest = max(highest, opening.epoch)
    last: dict[GuildId, int] = {}
    for fact in sorted(evidence.facts, key=lambda fact: fact.stream_sequence):
        if fact.epoch < last.get(fact.guild, 0):
            found.append(f"fact {fact.id} of epoch {fact.epoch}, after {last[fact.guild]}")
        last[fact.guild] = max(last.get(fact.guild, 0), fact.epoch)
    for guild, epoch, applied, what in spoke:
        later = [o for o in opened.get(guild, ()) if o.epoch > epoch and o.sequence <= applied]
        if later:
            found.append(
                f"guild {guild}: {what} at epoch {epoch}, which had applied "
                f"the beginning of epoch {later[0].epoch}"
            )
    return found


def late_answers(
    answers: Iterable[Answered],
    asked: Iterable[Asked],
    opened: Mapping[GuildId, Sequence[Opening]],
    fences: Mapping[tuple[str, str], Fence],
    silences: Mapping[tuple[GuildId, int], float],
) -> list[str]:
    """Answers of owners that could not answer any more, in words. What was asked before may have
    been answered before, and have been long on its way."""
    spoke = [(a.guild, a.epoch, a.asked_ms, "an answer") for a in answers]
    spoke += [
        (a.guild, a.epoch, a.began_ms, f"the answer to {a.client}'s {a.kind}")
        for a in asked
        if a.served
    ]
    holders = {
        (guild, opening.epoch): (opening.pod, opening.incarnation)
        for guild, all_of_it in opened.items()
        for opening in all_of_it
    }
    found = []
    for guild, epoch, asked_ms, what in spoke:
        holder = holders.get((guild, epoch))
        fence = None if holder is None else fences.get(holder)
        words = _too_late(asked_ms, epoch, fence, silences.get((guild, epoch)))
        if words:
            found.append(f"guild {guild}: {what} at epoch {epoch}, asked {words}")
    return found
