"""What `database` and PostgreSQL say to each other."""

GUILD_UPSERT = """
INSERT INTO guilds (guild, name, shard, present, seen_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (guild) DO UPDATE
SET name = excluded.name, shard = excluded.shard, present = excluded.present,
    seen_at = excluded.seen_at
"""
POD_UPSERT = """
INSERT INTO pods (pod, incarnation, data, replica, capacity, version, engine_version, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (pod) DO UPDATE
SET incarnation = excluded.incarnation, data = excluded.data, replica = excluded.replica,
    capacity = excluded.capacity, version = excluded.version,
    engine_version = excluded.engine_version, started_at = excluded.started_at
"""
CHANGE_INSERT = """
INSERT INTO ownership_history
    (guild, epoch, pod, incarnation, cause, changed_by, at, from_pod, from_incarnation, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (guild, epoch) DO NOTHING
"""
OPENED = """
UPDATE ownership_history SET took_ms = $3, replayed = $4, source = $5
WHERE guild = $1 AND epoch = $2 AND took_ms IS NULL
"""
LAST_EPOCHS = """
WITH RECURSIVE last AS (
    (
        SELECT guild, epoch, took_ms IS NULL AS unopened FROM ownership_history
        ORDER BY guild DESC, epoch DESC LIMIT 1
    )
    UNION ALL
    SELECT other.guild, other.epoch, other.unopened
    FROM last CROSS JOIN LATERAL (
        SELECT guild, epoch, took_ms IS NULL AS unopened FROM ownership_history
        WHERE guild < last.guild
        ORDER BY guild DESC, epoch DESC LIMIT 1
    ) AS other
)
SELECT guild, epoch, unopened FROM last
"""
"""Goes from guild to guild by the primary key: costs what the guilds cost, however long each one's
history is."""
HISTORY = """
SELECT guild, epoch, pod, incarnation, cause, changed_by, at, from_pod, reason, took_ms, replayed,
    source
FROM ownership_history
WHERE ($1::bigint IS NULL OR guild = $1) AND ($2::text IS NULL OR pod = $2 OR from_pod = $2)
ORDER BY at DESC, epoch DESC LIMIT $3
"""
INTENT_UPSERT = """
INSERT INTO intents (key, value, changed_by, at) VALUES ($1, $2, $3, now())
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, changed_by = excluded.changed_by, at = excluded.at
"""
OPERATION_INSERT = """
INSERT INTO operations (id, verb, request, asked_by, at) VALUES ($1, $2, $3, $4, now())
"""
