"""Config's answers as tables for people."""

from collections.abc import Callable
from typing import Any

import msgspec

from components.cli.text import columns, kept, moment, pairs, pruning
from components.cli.watch_text import is_critical, watch_parts
from contracts.operations import (
    BalanceReport,
    ClusterStatus,
    GuildList,
    GuildPlacement,
    History,
    OperationProgress,
    OperationStarted,
    OwnershipChange,
    PodList,
    PodSummary,
    WaitingGuild,
)

SHOWN = 20


def text_of(reply: msgspec.Struct) -> str:
    """The reply as a person reads it."""
    return TEXTS[type(reply)](reply)


def exit_code(reply: msgspec.Struct) -> int:
    """1 when a guild waits, a pod that owns guilds is away, or an alarm is critical."""
    if not isinstance(reply, ClusterStatus):
        return 0
    away = any(pod.state == "away" and pod.guilds for pod in reply.pods)
    return 1 if reply.waiting_total or away or is_critical(reply) else 0


def progress_line(progress: OperationProgress) -> str:
    """One line of an operation's progress."""
    words = f": {progress.text}" if progress.text else ""
    return f"{progress.what}: {progress.done} of {progress.total}, {progress.state}{words}"


def _status(status: ClusterStatus) -> str:
    balance = "by itself"
    if status.paused:
        reason = f": {status.paused_reason}" if status.paused_reason else ""
        balance = f"paused by {status.paused_by}{reason}"
    database: str = status.database
    if status.unwritten_rows:
        database += f", {status.unwritten_rows} rows to be written"
    shards = status.shards
    words = "unknown"
    if shards is not None:
        words = (
            f"{shards.connected} of {shards.count} connected, {shards.replicas} replicas, "
            f"at most {shards.fullest} guilds of {shards.guilds_per_shard}"
        )
    parts = [
        pairs(
            [
                ("guilds", status.guilds),
                ("shards", words),
                ("without a ready follower", status.without_follower),
                ("leader", f"{status.leader or 'none'} (answered by {status.replica})"),
                ("database", database),
                ("balance", balance),
            ]
        ),
        _pods(status.pods),
        *watch_parts(status),
        *([f"warning: {shards.warning}"] if shards is not None and shards.warning else []),
        *(progress_line(progress) for progress in status.operations),
        *_listed("wait", status.waiting, status.waiting_total),
        *_listed("are not as they should be", status.lacking, status.lacking_total),
    ]
    return "\n\n".join(parts)


def _pods(pods: list[PodSummary]) -> str:
    rows = [
        (
            pod.pod,
            f"{pod.state}, to be empty" if pod.to_be_empty else pod.state,
            pod.zone,
            pod.guilds,
            pod.open,
            pod.follows,
            pod.building,
            pod.capacity,
            round(pod.applied_per_s, 1),
            round(pod.backup_lag_s, 2),
            kept(pod),
            pruning(pod),
            round(pod.rest_share_per_s, 1),
        )
        for pod in pods
    ]
    headings = (
        "pod",
        "state",
        "zone",
        "owns",
        "open",
        "follows",
        "builds",
        "capacity",
        "inputs/s",
        "backup lag s",
        "kept",
        "pruned",
        "REST/s",
    )
    return columns(headings, rows)


def _listed(what: str, guilds: list[WaitingGuild], total: int) -> list[str]:
    if not total:
        return []
    rows = [(one.guild, one.name, one.pod or "", one.reason) for one in guilds[:SHOWN]]
    parts = [f"{total} guilds {what}:", columns(("guild", "name", "pod", "reason"), rows)]
    if total > len(rows):
        parts.append(f"… and {total - len(rows)} more (--json shows up to 1,000)")
    return ["\n".join(parts)]


def _guild(one: GuildPlacement) -> str:
    follower = one.follower or "nobody"
    if one.follower and not one.follower_ready:
        follower += " (not ready yet)"
    values: list[tuple[str, object]] = [
        ("guild", f"{one.guild} {one.name}"),
        ("state", f"{one.state}: {one.reason}" if one.reason else one.state),
        ("owner", f"{one.pod} ({one.incarnation}), epoch {one.epoch}" if one.pod else "nobody"),
        ("follower", follower),
    ]
    if one.parked_at is not None:
        skip = f"modbot guild {one.guild} skip {one.parked_at} --reason …"
        values.append(("parked", f"at input {one.parked_at}; to go on without it: {skip}"))
    for name, value in (
        ("joining", one.joining),
        ("pinned to", one.pinned),
        ("lacks", one.lacks),
        ("rows also in", ", ".join(one.sources)),
    ):
        if value:
            values.append((name, value))
    return "\n\n".join([pairs(values), _changes(one.history)])


def _guilds(page: GuildList) -> str:
    rows = [
        (
            one.guild,
            one.name,
            one.pod or "nobody",
            one.follower or "nobody",
            one.epoch or "",
            "pinned" if one.pinned else "",
            one.reason,
        )
        for one in page.guilds
    ]
    table = columns(("guild", "name", "owner", "follower", "epoch", "", "reason"), rows)
    if page.total > len(rows):
        table += f"\n… and {page.total - len(rows)} more: --after {page.guilds[-1].guild}"
    return table if rows else "no guild matches"


def _plan(report: BalanceReport) -> str:
    after = report.max_over_mean_after
    now = f"{report.max_over_mean:.2f} now, {after:.2f} after"
    parts = [f"{report.moves_total} moves; the heaviest pod over the mean: {now}"]
    if report.moves:
        rows = [
            (
                move.guild,
                move.purpose,
                move.from_pod or "",
                move.to_pod,
                round(move.weight, 2),
                move.reason,
            )
            for move in report.moves[:SHOWN]
        ]
        parts.append(columns(("guild", "to", "from", "pod", "weight", "reason"), rows))
    if report.moves_total > SHOWN:
        parts.append(f"… and {report.moves_total - SHOWN} more (--json shows up to 1,000)")
    if report.notes:
        parts.append("\n".join(["What prevents more:", *(f"- {note}" for note in report.notes)]))
    if report.paused:
        parts.append("Config moves nothing by itself: paused.")
    return "\n\n".join(parts)


def _history(history: History) -> str:
    return _changes(history.changes)


def _changes(changes: list[OwnershipChange]) -> str:
    rows = [
        (
            moment(one.at_ms),
            one.guild or "",
            one.epoch,
            one.from_pod or "",
            one.pod,
            one.cause,
            one.by,
            "" if one.took_ms is None else f"{one.took_ms} ms",
            "" if one.replayed is None else str(one.replayed),
            one.reason,
        )
        for one in changes
    ]
    headings = (
        "at (UTC)",
        "guild",
        "epoch",
        "from",
        "to",
        "cause",
        "by",
        "took",
        "replayed",
        "reason",
    )
    return columns(headings, rows) if rows else "no change of owner is known"


def _started(started: OperationStarted) -> str:
    if not started.operation:
        return started.what
    return f"{started.what}: operation {started.operation} (modbot.progress.{started.operation})"


TEXTS: dict[type[msgspec.Struct], Callable[[Any], str]] = {
    ClusterStatus: _status,
    PodList: lambda reply: _pods(reply.pods),
    GuildPlacement: _guild,
    GuildList: _guilds,
    BalanceReport: _plan,
    OperationStarted: _started,
    History: _history,
}
