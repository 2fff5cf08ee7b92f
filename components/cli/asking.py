"""Questions to a running installation, asked on the bus as the operator.

Fails with `CommandError`, whose words come from whoever refused.
"""

import argparse
import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus, connect
from components.bus.errors import BusError, NoOwner
from components.bus.settings import BusSettings
from components.cli.errors import CommandError
from components.cli.stack_options import home_of
from components.process import exits
from components.process.clock import steady_s
from components.process.settings import InvalidSettings, load
from components.stack import running
from components.stack.running import RunningStack
from components.telemetry.traces import carry
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import GuildId, is_snowflake
from contracts.message import MalformedMessage, decode, encode
from contracts.requests import Request

T = TypeVar("T")

DEADLINE_S = 5.0
"""A guild that changes its owner has one again inside this time."""
RETRY_EVERY_S = 0.1


def bus_settings(options: argparse.Namespace) -> BusSettings:
    """The bus that the environment names, else that of the stack running on this machine."""
    if os.environ.get("MODBOT_NATS_URL"):
        try:
            return load(BusSettings, "NATS")
        except InvalidSettings as error:
            raise CommandError(str(error), exits.CONFIG) from error
    home = Path(home_of(options)).resolve()
    stack = running.read(home)
    if stack is None:
        raise CommandError(
            f"no stack is running with its data in {home}: start one with `modbot up`, or set "
            "MODBOT_NATS_URL and MODBOT_NATS_SEED_FILE (the seed of the bus user `operator`)"
        )
    return operator_of(stack)


def operator_of(stack: RunningStack) -> BusSettings:
    """The stack's bus, as the operator."""
    seed = seed_in(Path(stack.credentials["seeds"]) / "operator.nk")
    return BusSettings(url=stack.urls["nats"], seed=seed)


def seed_in(file: Path) -> str:
    """The seed in a file."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error


def answered(work: Awaitable[T]) -> T:
    """Run to the end; errors of the bus become words."""

    async def awaited() -> T:
        return await work

    try:
        return asyncio.run(awaited())
    except BusError as error:
        raise CommandError(str(error)) from error
    except MalformedMessage as error:
        raise CommandError(f"the answer is not understood: {error}") from error


@contextlib.asynccontextmanager
async def operator(settings: BusSettings) -> AsyncIterator[Bus]:
    """A connection as the operator."""
    bus = await connect(settings, user="operator", name="modbot cli", wait_s=3.0)
    try:
        yield bus
    finally:
        await bus.close()


async def ask(bus: Bus, subject: str, data: bytes, answer: type[T], **fields: str) -> T:
    """Ask until somebody answers or the deadline has passed. Raises `CommandError`."""
    until_s = steady_s() + DEADLINE_S
    while True:
        try:
            message = await bus.ask(
                subject,
                data,
                {**carry(), headers.DEADLINE_MS: str(int(DEADLINE_S * 1000)), **fields},
                timeout_s=DEADLINE_S,
            )
        except NoOwner:
            if steady_s() >= until_s:
                raise
            await asyncio.sleep(RETRY_EVERY_S)  # between two owners nobody listens
            continue
        code = (message.headers or {}).get(headers.SERVICE_ERROR_CODE)
        if code == str(ErrorCode.MOVED) and steady_s() < until_s:
            await asyncio.sleep(RETRY_EVERY_S)
            continue
        refuse_error(message)
        return decode(message.data, answer)


async def ask_owner(bus: Bus, guild: GuildId, request: Request, answer: type[T]) -> T:
    """Ask the guild's owner. A write is sent under one request id, however often it is retried."""
    fields = {headers.REQUEST_ID: uuid4().hex} if request.writes else {}
    subject = subjects.request(guild, request.verb)
    try:
        return await ask(bus, subject, encode(request), answer, **fields)
    except NoOwner as error:
        raise CommandError(
            f"nobody serves guild {guild}: `modbot status` says what waits and why"
        ) from error


def refuse_error(message: Msg) -> None:
    """Raise `CommandError` with the words of a reply that is an error."""
    found = message.headers or {}
    if words := found.get(headers.SERVICE_ERROR):
        raise CommandError(f"{words} ({found.get(headers.SERVICE_ERROR_CODE, '?')})")


def guild_id(text: str) -> GuildId:
    """An argument that is a guild's id."""
    if not is_snowflake(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a guild id (digits)")
    return GuildId(text)


def print_json(value: Any) -> None:
    """For a program to read."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode())
