"""Holds what should have happened against what did. Pure: evidence in, findings out.

Every zero is a zero over a stated number of checked items. "Doubled" means a change that is
visible twice, not a call that was made twice (design.md, "Effects").
"""

from collections import Counter
from collections.abc import Container, Iterable
from typing import Any

import msgspec

from components.simulator.record import Entry
from components.traffic.check_reports import check_reports
from components.traffic.evidence import Evidence, PublishedFact
from components.traffic.reading import flagged, rest_calls, succeeded
from contracts.facts import CaseOpened, CaseUpdated, MessageFlagged
from contracts.ids import SessionId
from contracts.inputs import EffectResult, dispatch_id, interaction_id
from contracts.message import decode

REMOVING = frozenset({"medium", "high"})
"""Tiers whose response deletes the message itself; a honeypot's ban deletes with the ban."""
AT_ONCE_MS = 50.0
"""The simulator sends an event to all its sessions within a turn of its loop."""
MAY_COME = ("inputs_lost", "effects_lost", "reports_lost")
"""What is missing may be under way; whatever else is wrong stays wrong."""
_REMOVAL_FAILED = "message.delete: "
"""How a case's error names the effect that failed."""


class Violations(msgspec.Struct, kw_only=True):
    """What must be empty: each entry names one thing that is wrong."""

    inputs_lost: list[str] = []
    inputs_doubled: list[str] = []
    effects_lost: list[str] = []
    effects_doubled: list[str] = []
    effects_parked: list[str] = []
    reports_lost: list[str] = []
    reports_doubled: list[str] = []
    facts_doubled: list[str] = []
    facts_missing: list[str] = []
    facts_out_of_order: list[str] = []
    spec_violations: list[str] = []
    """Bodies and dispatches that do not fit Discord's specification; looked for only where the
    simulator was given it (`MODBOT_DISCORD_SPEC`)."""

    @property
    def total(self) -> int:
        """How many there are of all kinds."""
        return sum(len(getattr(self, name)) for name in self.__struct_fields__)

    def counts(self) -> dict[str, int]:
        """Kind to number."""
        return {name: len(getattr(self, name)) for name in self.__struct_fields__}


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Over how many items the violations were looked for."""

    inputs: int
    effects: int
    removals: int
    """Verdicts whose message had to be deleted."""
    excused: int
    """Messages that are still there because, as their case says, the removal failed."""
    reports: int
    facts: int
    nonces: int
    """Messages of the bot's, each with a nonce of its own."""
    threads: int
    bans: int
    kicks: int


def check(
    evidence: Evidence, unpreventable: Container[tuple[str, float]] = ()
) -> tuple[Checked, Violations]:
    """All violations in what happened before the evidence's cut, and what they were looked for
    in. ``unpreventable``: calls (method and path, `Entry.at_ms`) that double nothing, because they
    left a process that had been stopped on the way to its socket (0006)."""
    found = Violations()
    dispatches = _check_inputs(evidence, found)
    effects, removals, excused = _check_effects(evidence, found)
    visible = _visible(evidence.record, unpreventable)
    found.effects_doubled += [
        f"{what} x{count}" for (_, what), count in visible.items() if count > 1
    ]
    kinds = Counter(kind for kind, _ in visible)
    reports = check_reports(evidence)
    found.reports_lost += reports.lost
    found.reports_doubled += reports.doubled
    _check_facts(evidence.facts, found)
    found.spec_violations += [
        f"{entry.data['of']} {entry.data['name']}: {entry.data['problems'][:3]}"
        for entry in evidence.record
        if entry.kind == "violation"
    ]
    checked = Checked(
        inputs=dispatches,
        effects=effects,
        removals=removals,
        excused=excused,
        reports=reports.checked,
        facts=len(evidence.facts),
        nonces=kinds["message"],
        threads=kinds["thread"],
        bans=kinds["ban"],
        kicks=kinds["kick"],
    )
    return checked, found


def _check_inputs(evidence: Evidence, found: Violations) -> int:
    """Every event of the guilds is on its log, once. While the number of shards changes Discord
    delivers an event to two sessions, of which one speaks for the guild: either will do."""
    guilds = set(evidence.guilds)
    stored = Counter(item.message_id for item in evidence.inputs)
    found.inputs_doubled += [f"{name} x{count}" for name, count in stored.items() if count > 1]
    seen: set[tuple[str, int]] = set()
    missing: list[Entry] = []
    delivered: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in evidence.record:
        if entry.kind != "dispatch" or entry.data["guild_id"] not in guilds:
            continue
        name = _name_of(entry)
        if name in stored:
            delivered.setdefault(_event_of(entry), []).append(entry)
        if entry.n > evidence.cut.record:
            continue
        place = (entry.data["session"], entry.data["seq"])
        if place in seen:
            continue
        seen.add(place)
        if name not in stored:
            missing.append(entry)
    for entry in missing:
        if not any(_same_delivery(entry, other) for other in delivered.get(_event_of(entry), ())):
            found.inputs_lost.append(
                f"{entry.data['event']} {_name_of(entry)} guild {entry.data['guild_id']}"
            )
    return len(seen)


def _name_of(entry: Entry) -> str:
    """The id under which the dispatch is on its guild's log."""
    if entry.data["event"] == "INTERACTION_CREATE":
        return interaction_id(entry.data["subject_id"])
    return dispatch_id(SessionId(entry.data["session"]), entry.data["seq"])


def _event_of(entry: Entry) -> tuple[str, str, str]:
    return entry.data["event"], entry.data["guild_id"], str(entry.data.get("subject_id"))


def _same_delivery(one: Entry, other: Entry) -> bool:
    """Whether two sessions were sent one event: the simulator sends it to all of them at once."""
    return bool(
        one.data.get("subject_id")  # else nothing tells one event from another
        and one.data["session"] != other.data["session"]
        and abs(one.at_ms - other.at_ms) <= AT_ONCE_MS
    )


def _check_effects(evidence: Evidence, found: Violations) -> tuple[int, int, int]:
    """Every verdict's removal happened, every case is settled. Returns the number of effects, of
    removals and of those that were excused."""
    outcomes: dict[tuple[str, int, int], str] = {}
    for item in evidence.inputs:
        if isinstance(item.body, EffectResult):
            effect = (item.guild, item.body.sequence, item.body.index)
            if outcomes.get(effect, "parked") == "parked":  # the first result wins, or a human's
                outcomes[effect] = item.body.outcome
    failed = _failed_removals(evidence.facts)
    removals = excused = 0
    deleted = {
        entry.data["path"].rsplit("/", 1)[1]
        for entry in rest_calls(evidence.record, "DELETE", "/messages/")
        if succeeded(entry) or entry.data.get("code") == 10008
    }
    for fact, verdict in flagged(evidence.facts):
        if verdict.tier not in REMOVING:
            continue
        removals += 1
        if verdict.message in deleted or fact.input_sequence > evidence.cut.inputs[fact.guild]:
            continue
        if (fact.guild, verdict.message) in failed:
            excused += 1
        else:
            found.effects_lost.append(f"delete {verdict.message} of guild {fact.guild}")
    found.effects_lost += _unsettled_cases(evidence)
    found.effects_parked += [
        f"effect {sequence}/{index} of guild {guild}"
        for (guild, sequence, index), outcome in outcomes.items()
        if outcome == "parked"
    ]
    return len(outcomes), removals, excused


def _failed_removals(facts: Iterable[PublishedFact]) -> set[tuple[str, str]]:
    """(guild, message) where the case of the verdict itself says that the removal failed."""
    verdict: dict[tuple[str, int], str] = {}
    removals: dict[tuple[str, int], str] = {}
    failed: set[tuple[str, str]] = set()
    for fact in sorted(facts, key=lambda fact: (fact.guild, fact.input_sequence, fact.index)):
        if fact.type == MessageFlagged.type:
            message = decode(fact.data, MessageFlagged).message
            verdict[fact.guild, fact.input_sequence] = message
        elif fact.type == CaseOpened.type:
            # the case of a verdict follows it among the facts of one input
            judged = verdict.pop((fact.guild, fact.input_sequence), None)
            if judged is not None:
                removals[fact.guild, decode(fact.data, CaseOpened).number] = judged
        elif fact.type == CaseUpdated.type:
            updated = decode(fact.data, CaseUpdated)
            judged = removals.get((fact.guild, updated.number))
            if judged is not None and _REMOVAL_FAILED in updated.error:
                failed.add((fact.guild, judged))
    return failed


def _unsettled_cases(evidence: Evidence) -> list[str]:
    pending: dict[tuple[str, int], str] = {}
    for fact in evidence.facts:
        if fact.type == CaseOpened.type:
            opened = decode(fact.data, CaseOpened)
            before = fact.input_sequence <= evidence.cut.inputs[fact.guild]
            if opened.status == "pending" and before:
                pending[fact.guild, opened.number] = opened.action
        elif fact.type == CaseUpdated.type:
            updated = decode(fact.data, CaseUpdated)
            if updated.status != "pending":
                pending.pop((fact.guild, updated.number), None)
    return [f"case {guild}#{number} ({action})" for (guild, number), action in pending.items()]


def _visible(
    record: Iterable[Entry], unpreventable: Container[tuple[str, float]]
) -> Counter[tuple[str, str]]:
    """(kind, words) of what must be visible once, and how often it is: messages of one nonce,
    threads of one message, bans and kicks, which carry their case in the audit-log reason."""
    visible: Counter[tuple[str, str]] = Counter()
    for entry in record:
        if entry.kind == "message_create" and entry.data.get("nonce"):
            visible["message", f"message with nonce {entry.data['nonce']}"] += 1
        elif entry.kind == "rest" and succeeded(entry) and (kind := _kind_of(entry.data)):
            method, path, reason = (entry.data.get(name) for name in ("method", "path", "reason"))
            if (f"{method} {path}", entry.at_ms) in unpreventable:
                continue
            visible[kind, f"{method} {path} ({reason})"] += 1
    return visible


def _kind_of(call: dict[str, Any]) -> str:
    method, path = call["method"], call["path"]
    if method == "POST" and path.endswith("/threads"):
        return "thread"
    if method == "PUT" and "/bans/" in path:
        return "ban"
    if method == "DELETE" and path.count("/members/") == 1 and "/roles/" not in path:
        return "kick"
    return ""


def _check_facts(facts: Iterable[PublishedFact], found: Violations) -> None:
    """Per guild: each fact once, in the order of (input, index), without holes in an index."""
    last: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    for fact in sorted(facts, key=lambda fact: fact.stream_sequence):
        if fact.id in seen:
            found.facts_doubled.append(fact.id)
            continue
        seen.add(fact.id)
        place = (fact.input_sequence, fact.index)
        before = last.get(fact.guild, (0, -1))
        if place < before:
            found.facts_out_of_order.append(f"{fact.id} after {before}")
        expected = before[1] + 1 if place[0] == before[0] else 0
        if fact.index > expected:
            found.facts_missing.append(f"{fact.guild}-{place[0]}-{expected}")
        last[fact.guild] = max(place, before)
