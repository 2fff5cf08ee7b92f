"""The journal of a run of traffic: where the guilds' logs stood when it began, then every post.

It is what was asked of Discord; the report holds it against what Discord, the log and the facts
say. One JSON object a line; a last line that was cut off with its process is left out.
"""

from pathlib import Path
from typing import BinaryIO

import msgspec

from components.traffic.plan import Role
from contracts.ids import GuildId

NAME = "traffic.jsonl"
"""The journal's name in the stack's folder."""


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """The first line: the last sequence of every guild's log before the first post."""

    inputs: dict[GuildId, int]


class Posted(msgspec.Struct, frozen=True, kw_only=True, tag="posted"):
    """One message."""

    message: str
    guild: str
    channel: str
    author: str
    label: str
    role: Role
    posted_ms: int


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds."""

    begun: Begun
    posts: list[Posted]


def write(file: BinaryIO, line: Begun | Posted) -> None:
    """Append a line."""
    file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path) -> Journal | None:
    """The journal; None when there is none yet."""
    if not path.exists():
        return None
    decode = msgspec.json.Decoder(Begun | Posted).decode
    lines = [decode(line) for line in path.read_bytes().split(b"\n")[:-1] if line]
    begun = next((line for line in lines if isinstance(line, Begun)), None)
    if begun is None:
        return None
    return Journal(begun=begun, posts=[line for line in lines if isinstance(line, Posted)])
