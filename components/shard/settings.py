"""Settings of the shard component: ``MODBOT_SHARD_*``."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class ShardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Every limit here is for one shard id."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Shards of the whole installation; 0 takes what Discord recommends."""
    lease_ttl_s: Annotated[int, msgspec.Meta(ge=2)] = 4
    """After a replica died, how long until another takes its shard ids. Renewed every second."""
    rest_per_s: Annotated[float, msgspec.Meta(ge=1)] = 50.0
    """Discord's global limit for the whole installation, until config says what it is."""
    window: Positive = 256
    """Appends in flight, at most one of them for a guild."""
    queue_dispatches: Positive = 50_000
    """Dispatches that may wait for the bus; beyond it the socket is closed (4000)."""
    queue_mib: Positive = 128
    """The same bound in memory."""
    part_kib: Annotated[int, msgspec.Meta(ge=1, le=768)] = 256
    """Largest part of a GUILD_CREATE on the bus, which takes 1 MiB with headers."""
    guild_per_s: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    """Inputs a second that one guild may append for long; what is more waits. 0: no limit."""
    guild_burst: Annotated[float, msgspec.Meta(ge=1)] = 2_000.0
    """Inputs that one guild may append at once."""
    grace_s: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """After SIGTERM, how long queued dispatches may take to reach the bus."""
