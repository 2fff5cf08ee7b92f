"""Answers to interactions. Both kinds of route authenticate by the interaction's token alone.

docs: interactions/receiving-and-responding#endpoints
"""

from typing import Any

from components.simulator.interactions.interaction import Answer, Interaction
from components.simulator.interactions.responses import EPHEMERAL
from components.simulator.rest.call import Call, Reply, Route
from components.simulator.world.entities import Message


def callback(call: Call) -> Reply:
    """204, or with `with_response` what came of it."""
    interaction = call.interactions.respond(
        call.id("interaction_id"), call.path["interaction_token"], call.fields()
    )
    if call.query.get("with_response", "").lower() not in ("true", "1"):
        return Reply()
    return Reply(200, _callback_response(call, interaction))


def _callback_response(call: Call, interaction: Interaction) -> dict[str, Any]:
    """docs: #interaction-callback-interaction-callback-response-object"""
    shown: dict[str, Any] = {"id": str(interaction.id), "type": int(interaction.kind)}
    body: dict[str, Any] = {"interaction": shown}
    message = interaction.original
    if message is not None:
        shown["response_message_id"] = str(message.id)
        shown["response_message_loading"] = interaction.loading
        shown["response_message_ephemeral"] = bool(message.flags & EPHEMERAL)
        if interaction.answer in (Answer.MESSAGE, Answer.UPDATE_MESSAGE):
            body["resource"] = {
                "type": int(interaction.answer),
                "message": _shown(call, message),
            }
    return body


def _shown(call: Call, message: Message) -> dict[str, Any]:
    return call.world.render_message(message, message.author_id)


def _interaction(call: Call) -> Interaction:
    return call.interactions.by_webhook(call.id("webhook_id"), call.path["webhook_token"])


def _target(call: Call, interaction: Interaction) -> Message:
    which = call.path.get("message_id", "@original")
    if which != "@original":
        which = str(call.id("message_id"))
    return call.interactions.message_of(interaction, which)


def follow_up(call: Call) -> Reply:
    """Always answers with the message: `wait` is true for interactions."""
    interaction = _interaction(call)
    message = call.interactions.follow_up(interaction, call.fields())
    return Reply(200, _shown(call, message))


def get(call: Call) -> Reply:
    return Reply(200, _shown(call, _target(call, _interaction(call))))


def edit(call: Call) -> Reply:
    interaction = _interaction(call)
    message = call.interactions.edit(interaction, _target(call, interaction), call.fields())
    return Reply(200, _shown(call, message))


def delete(call: Call) -> Reply:
    interaction = _interaction(call)
    call.interactions.delete(interaction, _target(call, interaction))
    return Reply()


_CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"
_WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"
_ORIGINAL = f"{_WEBHOOK}/messages/@original"
_MESSAGE = f"{_WEBHOOK}/messages/{{message_id}}"
_D = "interactions/receiving-and-responding"
_T = "webhook_token"


def _open(method: str, path: str, handler: Any, page: str, bucket: str, major: str) -> Route:
    return Route(method, path, handler, f"{_D}#{page}", bucket, major, authorized=False)


ROUTES = [
    _open(
        "POST",
        _CALLBACK,
        callback,
        "create-interaction-response",
        "interactions.callback",
        "interaction_token",
    ),
    _open("POST", _WEBHOOK, follow_up, "create-followup-message", "webhook", _T),
    _open("GET", _ORIGINAL, get, "get-original-interaction-response", "webhook", _T),
    _open("PATCH", _ORIGINAL, edit, "edit-original-interaction-response", "webhook", _T),
    _open("DELETE", _ORIGINAL, delete, "delete-original-interaction-response", "webhook", _T),
    _open("GET", _MESSAGE, get, "get-followup-message", "webhook", _T),
    _open("PATCH", _MESSAGE, edit, "edit-followup-message", "webhook", _T),
    _open("DELETE", _MESSAGE, delete, "delete-followup-message", "webhook", _T),
]
