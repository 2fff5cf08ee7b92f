"""Alarms and NATS nodes of a status as text for people."""

from components.cli.text import columns, moment
from contracts import storage
from contracts.operations import Alarm, ClusterStatus, NatsNode

NAMED = (storage.INPUTS, f"KV_{storage.GUILDS}")
"""Streams whose leader is shown by name; the others are counted."""


def watch_parts(status: ClusterStatus) -> list[str]:
    """Paragraphs to be shown with the status; none when NATS is one server and all is well."""
    parts = []
    if status.alarms:
        parts.append("\n".join(["Alarms:", *(_alarm(alarm) for alarm in status.alarms)]))
    if status.nodes:
        rows = [(node.name, _state(node), _leads(node)) for node in status.nodes]
        parts.append(columns(("NATS node", "state", "leads"), rows))
    return parts


def is_critical(status: ClusterStatus) -> bool:
    """Whether somebody has to act now."""
    return any(alarm.severity == "critical" for alarm in status.alarms)


def _alarm(alarm: Alarm) -> str:
    return f"- {alarm.severity}, since {moment(alarm.since_ms)} UTC: {alarm.text} ({alarm.name})"


def _state(node: NatsNode) -> str:
    if node.away:
        return "away"
    return f"behind with {', '.join(node.behind)}" if node.behind else "current"


def _leads(node: NatsNode) -> str:
    named = [name for name in NAMED if name in node.leads]
    others = len(node.leads) - len(named)
    return ", ".join([*named, *([f"{others} more"] if others else [])])
