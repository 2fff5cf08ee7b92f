"""How another command asks a running `modbot up` to restart processes: a Unix socket.

A socket, because the answer matters as much as the wish: who asks sees each process become ready
and learns what went wrong, and his end (Ctrl-C) ends the rest of the restarts. It lies in the
system's folder for temporary files, readable for its owner alone, because a socket's path has at
most 100 characters and a data folder's may be longer. ``stack.json`` names it.

One line of JSON is the request; lines of JSON answer, the last one is `Ended`.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec

from components.stack.errors import StackError
from components.stack.rolling import Restarted


class Restart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request. No names: everything that can be restarted."""

    names: list[str]
    within_s: float = 120.0


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """A process is ready again."""

    name: str
    after_s: float


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The last line. ``words`` say what went wrong; empty: nothing."""

    words: str = ""


Told: TypeAlias = Callable[[Restarted], Awaitable[None]]
Answerer: TypeAlias = Callable[[Restart, Told], Awaitable[None]]


class NotAnswered(StackError):
    """The stack does not run any more, or ended while it was asked."""


def socket_of(home: Path) -> Path:
    """Where the stack with that data folder listens."""
    name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"modbot-control-{os.getuid()}" / f"{name}.sock"


@asynccontextmanager
async def serving(path: Path, answer: Answerer) -> AsyncIterator[None]:
    """Answer requests, one at a time. Call it with the stack's lock held: a socket that is there
    is one that a killed stack left."""
    _clear(path)
    alone = asyncio.Lock()
    conversations: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            with contextlib.suppress(ConnectionError):  # who asked has gone
                await _talk(reader, writer, answer, alone)
        finally:
            conversations.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(talk, path)
    try:
        yield
    finally:
        server.close()
        for task in list(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        _clear(path)


async def ask_restart(path: Path, request: Restart, ready: Callable[[Ready], None]) -> None:
    """Ask and wait for the end; ``ready`` hears of each process. Raises `StackError`."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise NotAnswered(f"the stack does not answer: {error.strerror or error}") from error
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        async for line in reader:
            said: Ready | Ended = msgspec.json.decode(line, type=Ready | Ended)
            if isinstance(said, Ready):
                ready(said)
            elif said.words:
                raise StackError(said.words)
            else:
                return
    except ConnectionError as error:
        raise NotAnswered("the stack ended meanwhile") from error
    finally:
        writer.close()
    raise NotAnswered("the stack ended meanwhile")


def _clear(path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answer: Answerer,
    alone: asyncio.Lock,
) -> None:
    async def say(said: Ready | Ended) -> None:
        writer.write(msgspec.json.encode(said) + b"\n")
        await writer.drain()

    async def told(restarted: Restarted) -> None:
        if reader.at_eof():
            raise ConnectionResetError
        await say(Ready(name=restarted.name, after_s=restarted.after_s))

    try:
        request = msgspec.json.decode(await reader.readline(), type=Restart)
    except (msgspec.MsgspecError, ValueError) as error:
        await say(Ended(words=f"not a request: {error}"))
        return
    if alone.locked():
        await say(Ended(words="another restart is under way"))
        return
    async with alone:
        try:
            await answer(request, told)
        except StackError as error:
            await say(Ended(words=str(error)))
        else:
            await say(Ended())
