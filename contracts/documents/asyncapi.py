"""The AsyncAPI 3.0 document of the bus: channels, messages, and what each bus user does with them.

One document for all components: an operation's tag names the bus user whose operation it is.
"""

from typing import Any

import msgspec

from contracts import catalog, errors, facts, headers
from contracts.accounts import USERS
from contracts.catalog import CHANNELS, Channel, Sent
from contracts.documents.schemas import Schema, component_schemas

NATS: dict[str, Any] = {"nats": {"bindingVersion": "0.1.0"}}

PATTERNS = {
    headers.TRACEPARENT: "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    headers.EPOCH: "^[0-9]+$",
    headers.APPLIED: "^[0-9]+$",
    headers.MIN_APPLIED: "^[0-9]+$",
    headers.DEADLINE_MS: "^[0-9]+$",
    headers.INPUT_SEQUENCE: "^[0-9]+$",
    headers.INPUT_INDEX: "^[0-9]+$",
    headers.SEQUENCE: "^[0-9]+$",
    headers.LAST_SEQUENCE: "^[0-9]+$",
    headers.EXPECTED_LAST_SUBJECT_SEQUENCE: "^[0-9]+$",
    headers.SERVICE_ERROR_CODE: "^[45][0-9]{2}$",
    headers.CE_SOURCE: "^/modbot/guilds/[0-9]+$",
    headers.TTL: "^[0-9]+s$",
}
"""Header values are text on the wire."""

GUILD_PARAMETER = "The guild's Discord id, a decimal number."


def asyncapi() -> dict[str, Any]:
    """The document, as its JSON reads back."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(_document()))
    return document


def _document() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "id": "urn:modbot:bus",
        "info": {
            "title": "modbot's bus",
            "version": "1.0.0",
            "description": "Every message between modbot's components, integrators and operators, "
            "over NATS. Fields are added, never changed or removed within a version; readers "
            "ignore fields they do not know. Facts (`modbot.events.>`) are CloudEvents 1.0 in the "
            "NATS binding's binary mode.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "What `modbot up` starts; every bus user has an nkey of its own.",
            }
        },
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {
            name: operation
            for channel in CHANNELS
            for name, operation in _operations(channel).items()
        },
        "components": {
            "messages": {_key(channel, sent): _message(sent) for channel, sent in _all_sent()},
            "schemas": component_schemas(catalog.messages(), "#/components/schemas/{name}"),
            "tags": {user.name: {"name": user.name, "description": user.purpose} for user in USERS},
        },
    }


def _all_sent() -> list[tuple[Channel, Sent]]:
    found = []
    for channel in CHANNELS:
        found += [(channel, sent) for sent in (*channel.sent, *_answers(channel))]
    return found


def _answers(channel: Channel) -> tuple[Sent, ...]:
    """What comes back on the requester's inbox."""
    if channel.reply is None:
        return ()
    if not channel.takes_errors:
        return (channel.reply,)
    refusal = Sent(
        type=errors.ErrorBody, senders=channel.reply.senders, headers=catalog.ERROR_HEADERS
    )
    return (channel.reply, refusal)


def _key(channel: Channel, sent: Sent) -> str:
    return f"{channel.name}.{sent.type.__name__}"


def _channel(channel: Channel) -> dict[str, Any]:
    document: dict[str, Any] = {
        "address": channel.address,
        "description": channel.purpose,
        "messages": {
            sent.type.__name__: {"$ref": f"#/components/messages/{_key(channel, sent)}"}
            for sent in (*channel.sent, *_answers(channel))
        },
    }
    names = [part.split("}")[0] for part in channel.address.split("{")[1:]]
    if names:
        document["parameters"] = {
            name: {"description": GUILD_PARAMETER} if name == "guild" else {} for name in names
        }
    return document


def _operations(channel: Channel) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for user in channel.all_senders():
        sent = [one for one in channel.sent if user in one.senders]
        found[f"{user}.send.{channel.name}"] = _operation(channel, "send", user, sent)
    for user in channel.receivers:
        received = list(channel.sent)
        found[f"{user}.receive.{channel.name}"] = _operation(channel, "receive", user, received)
    return found


def _operation(channel: Channel, action: str, user: str, sent: list[Sent]) -> dict[str, Any]:
    at = f"#/channels/{channel.name}"
    document: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": at},
        "tags": [{"$ref": f"#/components/tags/{user}"}],
        "messages": [{"$ref": f"{at}/messages/{one.type.__name__}"} for one in sent],
        "bindings": NATS,
    }
    if channel.stream and action == "receive":
        document["description"] = f"Read from the stream {channel.stream}."
    if channel.reply is not None:
        document["reply"] = {
            "address": {"location": "$message.header#/reply-to"},
            "channel": {"$ref": at},
            "messages": [
                {"$ref": f"{at}/messages/{one.type.__name__}"} for one in _answers(channel)
            ],
        }
    return document


def _message(sent: Sent) -> dict[str, Any]:
    name = sent.type.__name__
    return {
        "name": name,
        "title": name,
        "summary": (sent.type.__doc__ or "").split("\n")[0],
        "contentType": "application/json",
        "headers": _headers(sent),
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _headers(sent: Sent) -> Schema:
    required = [name for name, needed in sent.headers.items() if needed]
    properties = {name: _header(name, sent.type) for name in sent.headers}
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _header(name: str, message: type[msgspec.Struct]) -> Schema:
    if issubclass(message, facts.Fact):
        fixed = {
            headers.CE_SPECVERSION: "1.0",
            headers.CE_TYPE: facts.cloud_event_type(message),
            headers.CE_DATACONTENTTYPE: "application/json",
        }
        if name in fixed:
            return {"type": "string", "const": fixed[name]}
    if name == headers.CE_TIME:
        return {"type": "string", "format": "date-time"}
    if name in PATTERNS:
        return {"type": "string", "pattern": PATTERNS[name]}
    return {"type": "string"}
