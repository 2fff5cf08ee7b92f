"""Settings of the shard component: ``MODBOT_SHARD_*``."""

import msgspec


class ShardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Every limit here is for one shard id."""

    count: int = 0
    """Shards of the whole installation; 0 takes what Discord recommends."""
    lease_ttl_s: int = 4
    """After a replica died, how long until another takes its shard ids."""
    window: int = 256
    """Appends in flight, at most one of them for a guild."""
    queue_dispatches: int = 50_000
    """Dispatches that may wait for the bus; beyond it the socket is closed (4000)."""
    queue_mib: int = 128
    """The same bound in memory."""
    part_kib: int = 256
    """Largest part of a GUILD_CREATE on the bus."""
    grace_s: float = 5.0
    """After SIGTERM, how long queued dispatches may take to reach the bus."""
    catch_up_s: int = 900
    """After a refused RESUME, how far back messages are read; 0 reads none."""
    catch_up_channels: int = 200
    """Most channels that are then read, the most recently active first."""
