"""Whose turn it is to IDENTIFY: across replicas, inside Discord's limits.

One IDENTIFY per concurrency key (shard id modulo ``max_concurrency``) in 5 s, by a key in bucket
``shards`` that lives a little longer; none at all when the day's budget is used up, because one
IDENTIFY too many resets the bot's token (docs: events/gateway#rate-limiting).
"""

import logging

from components.process.clock import wall_ms
from components.shard.board import IDENTIFY, Board, encode_replica
from components.shard.discord_rest import DiscordRest
from components.shard.errors import IdentifyRefused

log = logging.getLogger(__name__)

TURN_S = 6
"""Discord counts 5 s from when the IDENTIFY arrives, a connection and a HELLO later."""


class IdentifyTurns:
    """The turns of one replica."""

    def __init__(self, rest: DiscordRest, board: Board, replica: str) -> None:
        self._rest = rest
        self._board = board
        self._value = encode_replica(replica, wall_ms())

    async def take(self, shard: int) -> None:
        """Wait for the shard id's turn. Raises `IdentifyRefused`, `DiscordUnavailable`,
        `BusError`, `CannotStart`."""
        advice = await self._rest.gateway_advice()
        if advice.remaining <= 0:
            raise IdentifyRefused(advice.reset_after_s)
        key = f"{IDENTIFY}{shard % advice.max_concurrency}"
        told = False
        while await self._board.bucket.create(key, self._value, ttl_s=TURN_S) is None:
            if not told:
                log.info("shard %d waits for its turn to identify (%s)", shard, key)
            told = True
            await self._board.next(timeout_s=1.0)
        log.info("shard %d identifies; %d left today", shard, advice.remaining - 1)
