"""The operators' service ``modbot-config``: ``modbot.config.<verb>``, as NATS micro service, so
that ``nats micro ls|info|stats`` shows it, each endpoint with its schemas.

Every replica answers (queue group). Errors follow the services convention and say what to do.
"""

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import msgspec
from nats.micro import add_service
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service, ServiceConfig
from opentelemetry.trace import SpanKind

from components.bus.connection import Bus
from components.config.answers import Answers
from components.config.commands import Commands
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.catalog import CONFIG_ENDPOINTS
from contracts.errors import ErrorCode, ServiceError
from contracts.message import MalformedMessage, Message, decode, encode

NAME = "modbot-config"
"""The micro specification allows no dot in a service's name."""

Answer = Callable[[Any], Awaitable[Message]]


async def serve(bus: Bus, answers: Answers, commands: Commands, replica: str) -> Service:
    """Start answering; stop it with the service's ``stop``."""
    service = await add_service(
        bus.client,
        ServiceConfig(
            name=NAME,
            version=version("modbot"),
            description="Which pod owns which guild, and why; and what operators want of it",
            metadata={"replica": replica},
        ),
    )
    for name, purpose, request, reply in CONFIG_ENDPOINTS:
        answer: Answer = getattr(answers, name, None) or getattr(commands, name)
        await service.add_endpoint(
            EndpointConfig(
                name=name,
                subject=subjects.config_endpoint(name),
                handler=_handler(name, request, answer),
                metadata={
                    "description": purpose,
                    "request_schema": _schema(request),
                    "response_schema": _schema(reply),
                },
            )
        )
    return service


def _schema(message: type[msgspec.Struct] | None) -> str:
    return json.dumps(msgspec.json.schema(message)) if message is not None else ""


def _handler(
    name: str, request_type: type[msgspec.Struct] | None, answer: Answer
) -> Callable[[Request], Awaitable[None]]:
    async def handle(request: Request) -> None:
        parent = (request.headers or {}).get(headers.TRACEPARENT, "")
        with span(f"config.{name}", parent=parent, kind=SpanKind.SERVER):
            try:
                reply = encode(await answer(_read(name, request.data, request_type)))
            except ServiceError as error:
                await request.respond_error(
                    str(error.code), error.description, encode(error.body()), carry()
                )
            else:
                await request.respond(reply, carry())

    return handle


def _read(name: str, data: bytes, expected: type[msgspec.Struct] | None) -> Any:
    if expected is None:
        return None
    try:
        return decode(data or b"{}", expected)
    except MalformedMessage as error:
        required = [one.name for one in msgspec.structs.fields(expected) if one.required]
        example = ", ".join(f'"{field}": {_example(field)}' for field in required)
        raise ServiceError(
            ErrorCode.MALFORMED, f"{error}; send {{{example}}} (`nats micro info {NAME}`: {name})"
        ) from error


def _example(field: str) -> str:
    return {"guild": '"ID"', "pod": '"NAME"', "guilds": '["ID"]'}.get(field, "…")
