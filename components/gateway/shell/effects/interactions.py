"""Answering an interaction, which its token makes single: Discord takes one first response.

While the first responder waits, the answer goes to it over the bus. Otherwise it was deferred and
the answer becomes an edit of the original response; with nobody there any more the answer is
given as the first response here, and "already acknowledged" (40060) means an edit again.
"""

from typing import Any, Final

import msgspec
from discord.http import Route

from components.bus.errors import NoOwner, NotConnected, Unanswered
from components.gateway.engine.effects import InteractionAnswerPayload
from components.gateway.shell.effects.outcomes import Again, Refused
from components.gateway.shell.effects.work import Data, Work
from components.telemetry.traces import carry
from contracts.interactions import EPHEMERAL, AnswerTaken, InteractionAnswer
from contracts.message import MalformedMessage, decode, encode

ALREADY_ACKNOWLEDGED: Final = 40060
UNKNOWN_WEBHOOK: Final = 10015
UNKNOWN_MESSAGE: Final = 10008
"""docs: topics/opcodes-and-status-codes#json"""
RESPONDER_WAIT_S: Final = 2.5
"""The responder speaks to Discord before it replies; an interaction has 3 s in all."""


async def answer_interaction(work: Work, payload: InteractionAnswerPayload) -> Data:
    """Give the answer, whoever was first."""
    taken = await _by_responder(work, payload)
    if taken is True:
        return {}
    if taken is False:
        try:
            return await _edit(work, payload)
        except Refused as refused:
            if refused.code not in (UNKNOWN_WEBHOOK, UNKNOWN_MESSAGE):
                raise  # the deferral did not reach Discord: be the first ourselves
    try:
        return await _respond(work, payload)
    except Refused as refused:
        if refused.code != ALREADY_ACKNOWLEDGED:
            raise
    return await _edit(work, payload)


async def settle_answer(work: Work, payload: InteractionAnswerPayload) -> Data:
    """In doubt: an edit with the same words changes nothing visible, if there was an answer."""
    try:
        return await _edit(work, payload)
    except Refused as refused:
        if refused.code not in (UNKNOWN_WEBHOOK, UNKNOWN_MESSAGE):
            raise
    return await answer_interaction(work, payload)


async def _by_responder(work: Work, payload: InteractionAnswerPayload) -> bool | None:
    """Whether the first responder gave the answer; None when it is not there any more."""
    if not payload.answer_to.startswith("modbot.answers."):
        return None
    answer = InteractionAnswer(
        interaction=payload.interaction,
        type=payload.type,
        data=msgspec.Raw(msgspec.json.encode(payload.data)),
        epoch=work.permit.epoch,
        sequence=work.effect.sequence,
    )
    work.gate.check(work.permit)
    try:
        reply = await work.bus.ask(
            payload.answer_to, encode(answer), carry(), timeout_s=RESPONDER_WAIT_S
        )
        return decode(reply.data, AnswerTaken).taken
    except (NoOwner, Unanswered, MalformedMessage):
        return None
    except NotConnected as error:
        raise Again("not connected to NATS", in_doubt=False) from error


async def _respond(work: Work, payload: InteractionAnswerPayload) -> Data:
    body = {"type": payload.type, "data": payload.data}
    await work.call(
        lambda http: http.request(
            Route(
                "POST",
                "/interactions/{webhook_id}/{webhook_token}/callback",
                webhook_id=payload.interaction,
                webhook_token=payload.token,
            ),
            json=body,
        ),
        limited=False,
    )
    return {}


async def _edit(work: Work, payload: InteractionAnswerPayload) -> Data:
    body = _without_ephemeral(payload.data)
    await work.call(
        lambda http: http.request(
            Route(
                "PATCH",
                "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
                webhook_id=payload.application,
                webhook_token=payload.token,
            ),
            json=body,
        ),
        limited=False,
    )
    return {}


def _without_ephemeral(data: dict[str, Any]) -> dict[str, Any]:
    """Whether a response is ephemeral was settled by the first one; an edit may not name it."""
    flags = int(data.get("flags", 0)) & ~EPHEMERAL
    rest = {name: value for name, value in data.items() if name != "flags"}
    return {**rest, "flags": flags} if flags else rest
