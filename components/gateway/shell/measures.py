"""The pod's figures for Prometheus (`telemetry.metrics`), from what its parts know anyway."""

from components.bus.connection import Bus
from components.gateway.shell.applier import Applier
from components.gateway.shell.backup import Backup
from components.gateway.shell.effects.limits import InvalidRequests
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.ownership import Ownership
from components.gateway.shell.pruning import Pruning
from components.sharing.slots import RateShare
from components.telemetry.metrics import counter, gauge


def measure_work(
    bus: Bus,
    ownership: Ownership,
    applier: Applier,
    logbook: Logbook,
    share: RateShare,
    invalid: InvalidRequests,
) -> None:
    """What the pod holds and does."""

    def guilds() -> dict[str, float]:
        machines = list(ownership.machine.guilds.values())
        named = [machine.named for machine in machines]
        return {
            "owned": named.count("own"),
            "followed": named.count("follow"),
            "open": ownership.open_count,
        }

    def pending() -> int:
        held = ownership.guilds.values()
        return sum(guild.tenure.lanes.pending for guild in held if guild.tenure is not None)

    gauge("modbot.nats.connected", lambda: int(bus.connected), "1 while the bus is reached")
    gauge(
        "modbot.guilds",
        guilds,
        "Guilds that the pod owns, owns and serves (open), follows or builds (followed)",
        by="role",
    )
    counter("modbot.inputs.applied", lambda: applier.applied, "Inputs applied since the start")
    gauge("modbot.outbox.pending", pending, "Effects that wait or are under way")
    gauge(
        "modbot.complete.sequence",
        lambda: logbook.mark,
        "Stream sequence up to which all guilds are complete on disk",
    )
    gauge("modbot.rest.share", lambda: share.share, "Slots of Discord's global rate limit")
    gauge("modbot.rest.in_use", lambda: share.in_use, "Slots that are taken")
    gauge(
        "modbot.invalid.requests",
        lambda: invalid.count,
        "Answers of 401, 403 and 429 within the last 10 minutes",
    )


def measure_backup(backup: Backup, pruning: Pruning) -> None:
    """How far the backup is, how long it is kept, and what has gone."""
    replication = backup.replication
    gauge(
        "modbot.backup.lag",
        lambda: replication.lag_s,
        "Age of the oldest commit that is not in the backup bucket",
        unit="s",
    )
    gauge(
        "modbot.backup.beat",
        lambda: replication.backed_up_beat,
        "The last beat that is in the backup bucket",
    )
    gauge(
        "modbot.backup.sequence",
        lambda: replication.backed_up_to,
        "Stream sequence up to which all guilds are complete in the backup bucket",
    )
    gauge(
        "modbot.backup.retention",
        lambda: backup.retention_h,
        "How long backups are kept",
        unit="h",
    )
    gauge(
        "modbot.pruning.looked.timestamp",
        lambda: pruning.looked_ms / 1000,
        "When it was last looked which replicas nobody needs any more; 0: not yet",
        unit="s",
    )
    counter("modbot.pruned.replicas", lambda: pruning.replicas, "Replicas deleted since the start")
    counter("modbot.pruned.objects", lambda: pruning.objects, "Objects of deleted replicas")
