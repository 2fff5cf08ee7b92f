"""Streams and key-value buckets: what is kept on the bus, for how long.

``infra/nats/streams/*.json`` are these values as the server's API takes them, generated and
checked for drift; provisioning sends exactly them.
"""

from typing import Any, Final

import msgspec

from contracts import subjects

SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * SECOND_NS
DAY_NS: Final = 24 * HOUR_NS

INPUTS: Final = "INPUTS"
EVENTS: Final = "EVENTS"

PODS: Final = "pods"
GUILDS: Final = "guilds"
REGISTRY: Final = "registry"
LEADERS: Final = "leaders"
SHARDS: Final = "shards"
SESSIONS: Final = "sessions"
ATTEMPTS: Final = "attempts"
SIGNALS: Final = "signals"
HANDOFFS: Final = "handoffs"
ENDS: Final = "ends"
LOADS: Final = "loads"
INTENT: Final = "intent"
SHARES: Final = "shares"

SNAPSHOTS: Final = "snapshots"
"""Object store: a guild's rows on their way to a new follower."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A key-value bucket. ``expires``: its keys may carry a time to live of their own, and an
    expiry leaves a marker that watchers see. ``batches``: many keys may be written at once, all or
    none."""

    name: str
    description: str
    expires: bool = False
    batches: bool = False
    history: int = 1
    max_bytes: int = 64 * 1024**2


BUCKETS: Final = (
    Bucket(name=PODS, description="Leases of gateway pods; key: pod", expires=True),
    Bucket(
        name=GUILDS,
        description="Which pod owns which guild; key: guild",
        batches=True,
        max_bytes=256 * 1024**2,  # 100,000 guilds of 1 KB
    ),
    Bucket(name=REGISTRY, description="Guilds that shards have seen; key: guild"),
    Bucket(name=LEADERS, description="Leases of leaders; key: role", expires=True),
    Bucket(
        name=SHARDS,
        description="Leases of Discord shard ids; key: shard id, or generation-shard id; "
        "and how many there are",
        expires=True,
    ),
    Bucket(
        name=SESSIONS,
        description="Resume data of Discord sessions; key: shard id, or generation-shard id",
    ),
    Bucket(
        name=ATTEMPTS,
        description="Inputs being replayed after a crash; key: guild",
    ),
    Bucket(
        name=SIGNALS,
        description="Spam signals shared between guilds; key: user.guild or sharing.guild",
        expires=True,
    ),
    Bucket(
        name=HANDOFFS,
        description="Who let go of a guild, who holds its rows; key: released|silent|holds.guild",
        max_bytes=256 * 1024**2,
    ),
    Bucket(
        name=ENDS,
        description="Ends of gateway processes, seen by their parents; key: pod.process",
        expires=True,
    ),
    Bucket(name=LOADS, description="What each guild costs its pod; key: pod"),
    Bucket(name=INTENT, description="What operators want; key: pod|guild|move.ID, balance"),
    Bucket(name=SHARES, description="How limits are divided among pods; key: limit"),
)


SHARD_PLAN: Final = "plan"
"""Key in `SHARDS`: `records.ShardPlan`. It does not expire."""


SHARD_REPLICA: Final = "replica."
"""Before the name of a replica of the shard: the key in `SHARDS` that shows that it lives."""


def shard_key(generation: int, shard: int) -> str:
    """The key of a shard id in `SHARDS` and `SESSIONS`. Every change of the number of shards is a
    new generation (`records.ShardPlan`), so that old and new ones live side by side."""
    return f"{generation}-{shard}" if generation else str(shard)


def shard_of_key(key: str) -> tuple[int, int] | None:
    """Generation and shard id of such a key; None for another key of the bucket."""
    generation, dash, shard = key.rpartition("-")
    if not (shard.isdecimal() and (generation.isdecimal() if dash else True)):
        return None
    return int(generation or 0), int(shard)


def inputs_stream() -> dict[str, Any]:
    """INPUTS: the logs of all guilds. Full means refused, never dropped (``discard: new``)."""
    return {
        "name": INPUTS,
        "description": "The logs of all guilds: everything that changes their state",
        "subjects": [subjects.INPUTS_WILDCARD],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 72 * HOUR_NS,
        "max_bytes": 4 * 1024**3,
        "max_msg_size": 1024 * 1024,
        "duplicate_window": 10 * 60 * SECOND_NS,
        "num_replicas": 1,
        "allow_direct": True,
        "deny_delete": False,
        "republish": {"src": subjects.INPUTS_WILDCARD, "dest": "modbot.live.{{wildcard(1)}}"},
    }


def events_stream() -> dict[str, Any]:
    """EVENTS: the facts of all guilds, for integrators and feeds."""
    return {
        "name": EVENTS,
        "description": "Facts of all guilds, in order per guild, each exactly once",
        "subjects": [subjects.EVENTS_WILDCARD],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": 30 * DAY_NS,
        "max_bytes": 2 * 1024**3,
        "duplicate_window": 10 * 60 * SECOND_NS,
        "num_replicas": 1,
        "allow_direct": True,
    }


def bucket_stream(bucket: Bucket) -> dict[str, Any]:
    """A bucket as the stream that it is."""
    config: dict[str, Any] = {
        "name": f"KV_{bucket.name}",
        "description": bucket.description,
        "subjects": [f"$KV.{bucket.name}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": bucket.history,
        "max_bytes": bucket.max_bytes,
        "duplicate_window": 2 * 60 * SECOND_NS,
        "num_replicas": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    if bucket.batches:
        config["allow_atomic"] = True
    if bucket.expires:
        config["allow_msg_ttl"] = True
        config["subject_delete_marker_ttl"] = 60 * SECOND_NS
    return config


def snapshots_stream() -> dict[str, Any]:
    """The object store of guild snapshots: fetched within seconds, gone after ten minutes."""
    return {
        "name": f"OBJ_{SNAPSHOTS}",
        "description": "Rows of guilds on their way to a new follower",
        "subjects": [f"$O.{SNAPSHOTS}.C.>", f"$O.{SNAPSHOTS}.M.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 600 * SECOND_NS,
        "max_bytes": 1024**3,
        "duplicate_window": 2 * 60 * SECOND_NS,
        "num_replicas": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
    }


def streams() -> list[dict[str, Any]]:
    """Every stream that must exist, in the form of the server's create request."""
    return [
        inputs_stream(),
        events_stream(),
        snapshots_stream(),
        *(bucket_stream(b) for b in BUCKETS),
    ]
