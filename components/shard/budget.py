"""Tells config how many sessions Discord still grants: only a shard may ask that of Discord."""

import logging

from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.process.exits import CannotStart
from components.shard.discord_rest import DiscordRest
from components.shard.errors import DiscordUnavailable
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.message import encode
from contracts.operations import SessionBudget

log = logging.getLogger(__name__)


async def answer_budget(bus: Bus, rest: DiscordRest, replica: str) -> None:
    """Answer ``modbot.shards.budget`` from now on. Every replica does, and who asks takes the first
    answer. That Discord does not say is an answer too."""

    async def answer(message: Msg) -> None:
        if not message.reply:
            return
        parent = (message.headers or {}).get(headers.TRACEPARENT, "")
        with span("session budget", parent=parent):
            budget = await _budget(rest, replica)
            try:
                await bus.say(message.reply, encode(budget), carry())
            except BusError as error:
                log.info("config does not hear how many sessions are left: %s", error)

    await bus.listen(subjects.SHARD_BUDGET, answer)


async def _budget(rest: DiscordRest, replica: str) -> SessionBudget:
    try:
        advice = await rest.gateway_advice()
    except (DiscordUnavailable, CannotStart) as error:
        return SessionBudget(
            replica=replica,
            recommended=0,
            remaining=0,
            reset_after_s=0.0,
            max_concurrency=1,
            problem=str(error),
        )
    return SessionBudget(
        replica=replica,
        recommended=advice.shards,
        remaining=advice.remaining,
        reset_after_s=advice.reset_after_s,
        max_concurrency=advice.max_concurrency,
    )
