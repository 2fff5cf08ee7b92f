"""Config's figures for Prometheus (`telemetry.metrics`), from what this replica knows anyway."""

from collections import Counter
from collections.abc import Mapping

from components.bus.connection import Bus
from components.config.database import Database
from components.config.leadership import Leadership
from components.config.parking import parked
from components.config.placing import Placer
from components.config.view import View
from components.config.watchfulness import Watch
from components.telemetry.metrics import gauge


def measure(
    bus: Bus, view: View, placer: Placer, database: Database, leadership: Leadership, watch: Watch
) -> None:
    """Who leads, what is served, what is wrong. Waiting guilds are known to the leader alone, which
    gives the others no figure."""

    def guilds() -> Mapping[str, float]:
        known = {"assigned": len(view.assignments), "parked": len(parked(view))}
        if not leadership.leading:
            return known
        return known | {
            "waiting": len(placer.leader.waiting),
            "lacking": len(placer.leader.lacking),
        }

    def pods() -> Mapping[str, float]:
        return Counter(
            "away" if pod.away_since_s is not None or pod.lease is None else pod.lease.state
            for pod in view.pods.values()
        )

    gauge("modbot.nats.connected", lambda: int(bus.connected), "1 while the bus is reached")
    gauge("modbot.leader", lambda: int(leadership.leading), "1 while this replica leads")
    gauge(
        "modbot.alarms",
        lambda: dict(Counter(alarm.name for alarm in watch.alarms)),
        "Alarms that stand, by their kind",
        by="alarm",
    )
    gauge(
        "modbot.alarms.critical",
        lambda: sum(alarm.severity == "critical" for alarm in watch.alarms),
        "Alarms that stand and are critical",
    )
    gauge(
        "modbot.guilds",
        guilds,
        "Guilds that have an owner (assigned), that wait at an input (parked), that nobody serves "
        "(waiting), that lack something",
        by="state",
    )
    gauge("modbot.pods", pods, "Gateway pods by their state", by="state")
    gauge("modbot.database.up", lambda: int(database.up), "1 while PostgreSQL answers")
    gauge("modbot.database.unwritten", lambda: database.pending, "Rows that PostgreSQL lacks yet")
