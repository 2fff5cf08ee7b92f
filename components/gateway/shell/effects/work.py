"""One effect being done: what executors and settlement work with."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from discord.http import HTTPClient

from components.bus.connection import Bus
from components.gateway.engine.model import Effect
from components.gateway.shell.applier import Applier
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.gate import Gate, Permit

T = TypeVar("T")
Data = dict[str, str]
"""What an effect made, e.g. ``{"message_id": "…"}``."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor works with: one effect and the ways out."""

    effect: Effect
    permit: Permit
    rest: Rest
    bus: Bus
    gate: Gate
    applier: Applier
    now_ms: int

    async def call(
        self, request: Callable[[HTTPClient], Awaitable[T]], *, limited: bool = True
    ) -> T:
        """One request to Discord on behalf of the effect."""
        urgent = self.effect.lane == "urgent"
        return await self.rest.call(self.permit, request, urgent=urgent, limited=limited)
