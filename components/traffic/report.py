"""What became of the posted texts: seen, acted on, by tier and signal, how fast, whom it hit.

Pure: journal and evidence in, a report out; `render` draws it for a terminal.
"""

import statistics
from collections import Counter

import msgspec
from rich.console import Console
from rich.table import Table

from components.traffic.check import Checked, check
from components.traffic.corpus import HARMFUL
from components.traffic.evidence import Evidence
from components.traffic.journal import Posted
from components.traffic.reading import flagged, rest_calls, succeeded
from contracts.inputs import DiscordDispatch

NOT_CAUGHT = "none"
TIERS = (NOT_CAUGHT, "low", "medium", "high", "honeypot")


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """From the message on the socket to the REST call that removes it, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the confusion matrix: messages of a label and a role, by verdict."""

    label: str
    role: str
    harmful: bool | None
    total: int
    tiers: dict[str, int]


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """The matrix in four numbers: messages with a label, by whether they got any verdict."""

    harmful_caught: int
    harmful_missed: int
    harmless_hit: int
    harmless_left: int


class TrafficReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report; ``ok`` means that nothing was lost, doubled or
    against Discord's specification."""

    sent: int
    seen: int
    acted_on: int
    by_tier: dict[str, int]
    by_signal: dict[str, int]
    latency: Latency | None
    confusion: Confusion
    matrix: list[Row]
    checked: Checked
    violations: dict[str, int]
    examples: dict[str, list[str]]
    ok: bool


def build(journal: list[Posted], evidence: Evidence) -> TrafficReport:
    """The report on the journal's posts."""
    posted = {line.message: line for line in journal}
    on_log = {
        message
        for item in evidence.inputs
        if isinstance(item.body, DiscordDispatch) and item.body.event == "MESSAGE_CREATE"
        if (message := _id_of(item.body.data)) in posted
    }
    verdicts = {
        verdict.message: verdict
        for _, verdict in flagged(evidence.facts)
        if verdict.message in posted
    }
    signals = Counter(signal.name for verdict in verdicts.values() for signal in verdict.signals)
    checked, violations = check(evidence)
    matrix = _matrix(journal, {message: v.tier for message, v in verdicts.items()})
    violations.inputs_lost += [f"message {m} is not on the log" for m in posted.keys() - on_log]
    return TrafficReport(
        sent=len(posted),
        seen=len(on_log),
        acted_on=len(verdicts),
        by_tier=dict(Counter(verdict.tier for verdict in verdicts.values())),
        by_signal=dict(signals.most_common()),
        latency=_latency(evidence, set(verdicts)),
        confusion=_confusion(matrix),
        matrix=matrix,
        checked=checked,
        violations=violations.counts(),
        examples={
            name: found[:5]
            for name in violations.__struct_fields__
            if (found := getattr(violations, name))
        },
        ok=violations.total == 0 and len(posted) == len(on_log),
    )


class _Message(msgspec.Struct):
    id: str


_decode_message = msgspec.json.Decoder(_Message, strict=False).decode


def _id_of(data: msgspec.Raw) -> str:
    return _decode_message(data).id


def _latency(evidence: Evidence, messages: set[str]) -> Latency | None:
    sent = {
        entry.data["subject_id"]: entry.at_ms
        for entry in reversed(evidence.record)
        if entry.kind == "dispatch" and entry.data["event"] == "MESSAGE_CREATE"
    }
    took = sorted(
        entry.at_ms - sent[message]
        for entry in rest_calls(evidence.record, "DELETE", "/messages/")
        if succeeded(entry)
        and (message := entry.data["path"].rsplit("/", 1)[1]) in messages
        and message in sent
    )
    if not took:
        return None
    return Latency(
        count=len(took),
        p50_ms=round(statistics.median(took), 2),
        p99_ms=round(took[min(len(took) - 1, int(len(took) * 0.99))], 2),
        max_ms=round(took[-1], 2),
    )


def _matrix(journal: list[Posted], tiers: dict[str, str]) -> list[Row]:
    cells: Counter[tuple[str, str, str]] = Counter(
        (line.label, line.role, tiers.get(line.message, NOT_CAUGHT)) for line in journal
    )
    rows = sorted({(label, role) for label, role, _ in cells})
    return [
        Row(
            label=label or "(no label)",
            role=role,
            harmful=None if not label else label in HARMFUL,
            total=sum(cells[label, role, tier] for tier in TIERS),
            tiers={tier: cells[label, role, tier] for tier in TIERS},
        )
        for label, role in rows
    ]


def _confusion(matrix: list[Row]) -> Confusion:
    def count(*, harmful: bool, caught: bool) -> int:
        rows = [row for row in matrix if row.harmful is harmful]
        missed = sum(row.tiers[NOT_CAUGHT] for row in rows)
        return sum(row.total for row in rows) - missed if caught else missed

    return Confusion(
        harmful_caught=count(harmful=True, caught=True),
        harmful_missed=count(harmful=True, caught=False),
        harmless_hit=count(harmful=False, caught=True),
        harmless_left=count(harmful=False, caught=False),
    )


def render(report: TrafficReport, console: Console) -> None:
    """Draw the report."""
    console.print(
        f"[bold]{report.sent}[/] messages sent, [bold]{report.seen}[/] seen, "
        f"[bold]{report.acted_on}[/] acted on"
    )
    if report.latency is not None:
        took = report.latency
        console.print(
            f"from socket to action: p50 {took.p50_ms} ms, p99 {took.p99_ms} ms, "
            f"max {took.max_ms} ms over {took.count} removals"
        )
    told = report.confusion
    harmful = told.harmful_caught + told.harmful_missed
    harmless = told.harmless_hit + told.harmless_left
    console.print(
        f"caught {told.harmful_caught} of {harmful} harmful messages, "
        f"hit {told.harmless_hit} of {harmless} harmless ones"
    )
    matrix = Table(title="What was caught, by label and kind of member")
    for column in ("label", "member", "harmful", "messages", *TIERS):
        matrix.add_column(column, justify="left" if column in ("label", "member") else "right")
    for row in report.matrix:
        known = {True: "yes", False: "no", None: "?"}[row.harmful]
        matrix.add_row(
            row.label, row.role, known, str(row.total), *(str(row.tiers[t]) for t in TIERS)
        )
    console.print(matrix)
    signals = Table(title="Signals")
    signals.add_column("signal")
    signals.add_column("messages", justify="right")
    for name, count in report.by_signal.items():
        signals.add_row(name, str(count))
    console.print(signals)
    checked = report.checked
    console.print(
        f"checked {checked.inputs} dispatches, {checked.effects} effects "
        f"({checked.excused} removals failed, as their cases say), "
        f"{checked.reports} reports, {checked.facts} facts: "
        + ", ".join(
            f"{name.replace('_', ' ')} {count}" for name, count in report.violations.items()
        )
    )
    for name, examples in report.examples.items():
        console.print(f"[red]{name}[/]: {'; '.join(examples)}")
    console.print("[green]nothing lost or doubled[/]" if report.ok else "[red]NOT ok[/]")
