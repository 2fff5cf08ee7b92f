"""Posts a plan's messages through the simulator as its members, at a rate, and keeps a `journal`.

Falls behind rather than skips: every post of the plan is made, in order.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec

from components.bus.connection import Bus
from components.simulator.client import ControlError, GuildInfo, SimulatorControl
from components.traffic import corpus, journal, plan
from components.traffic.evidence import cut
from components.traffic.guilds import ensure_guilds, put_settings
from contracts.ids import GuildId

BATCH_S = 0.05
"""Posts that fall into one such interval are handed to the simulator together."""
REGULARS = 40
"""Fewest regular members of a guild."""


class TrafficOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to post: ``files`` empty means the project's own corpus, over and over; files are
    posted once. ``rate`` is messages a second over all guilds."""

    guilds: int = 20
    rate: float = 5.0
    files: tuple[str, ...] = ()
    seed: int = 1

    @property
    def endless(self) -> bool:
        """Whether the traffic goes on until it is stopped."""
        return not self.files


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the traffic is; ``total`` is None when it is endless."""

    posted: int
    refused: int
    total: int | None


class Members:
    """Accounts that post, made when they first do."""

    def __init__(self, control: SimulatorControl, guilds: list[GuildInfo], seed: int) -> None:
        self._control = control
        self._guilds = guilds
        self._dice = random.Random(seed)
        self._ids: dict[tuple[int, str, int], int] = {}

    async def id_of(self, post: plan.Post) -> int:
        """The account of a post's author: regulars are years old, newcomers hours."""
        role = "regular" if post.role == "regular" else "new"
        key = (post.guild, role, post.author)
        if key not in self._ids:
            now = datetime.now(UTC)
            if role == "regular":
                created = now - timedelta(days=self._dice.randint(400, 3000))
                joined = now - timedelta(days=self._dice.randint(30, 390))
            else:
                created = now - timedelta(hours=self._dice.randint(2, 20))
                joined = now - timedelta(minutes=self._dice.randint(1, 50))
            self._ids[key] = await self._control.join(
                self._guilds[post.guild].id,
                username=f"{role}-{post.guild}-{post.author}",
                created_at=created.isoformat(),
                joined_at=joined.isoformat(),
            )
        return self._ids[key]


async def drive(
    control: SimulatorControl,
    bus: Bus,
    options: TrafficOptions,
    path: Path,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Set up the guilds and post everything; returns when the plan is done (never, if endless).

    Raises `BadCorpus` before anything is posted, `GuildsNotServed` when nobody owns the guilds.
    """
    texts = corpus.read([Path(name) for name in options.files])
    guilds = await ensure_guilds(control, options.guilds)
    await put_settings(bus, guilds)
    posts: Iterable[plan.Post] = plan.posts(
        texts,
        guilds=options.guilds,
        regulars=max(REGULARS, len(texts) // options.guilds),
        seed=options.seed,
        rounds=None if options.endless else 1,
    )
    total = None
    if not options.endless:
        posts = list(posts)
        total = len(posts)
    members = Members(control, guilds, options.seed)
    done = Progress(posted=0, refused=0, total=total)
    started = time.monotonic()
    begun = await cut(control, bus, [GuildId(str(guild.id)) for guild in guilds])
    with path.open("wb") as file:
        journal.write(file, journal.Begun(inputs=begun.inputs))
        batch: list[plan.Post] = []
        for number, post in enumerate(posts):
            due = started + number / options.rate
            batch.append(post)
            if due - time.monotonic() < BATCH_S:
                continue
            done = await _flush(control, guilds, members, batch, file, done)
            file.flush()
            progress(done)
            batch = []
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        done = await _flush(control, guilds, members, batch, file, done)
    progress(done)
    return done


async def _flush(
    control: SimulatorControl,
    guilds: list[GuildInfo],
    members: Members,
    batch: list[plan.Post],
    file: BinaryIO,
    done: Progress,
) -> Progress:
    """Post a batch. A member who was removed or timed out meanwhile cannot post: counted."""
    posted = refused = 0
    for post in batch:
        guild = guilds[post.guild]
        channel = guild.channels[plan.CHANNELS[post.channel]]
        author = await members.id_of(post)
        try:
            message = await control.post(channel, author, post.text)
        except ControlError as error:
            if error.status not in (403, 404):
                raise
            refused += 1
            continue
        posted += 1
        line = journal.Posted(
            message=str(message),
            guild=str(guild.id),
            channel=str(channel),
            author=str(author),
            label=post.label,
            role=post.role,
            posted_ms=time.time_ns() // 1_000_000,
        )
        journal.write(file, line)
    return Progress(posted=done.posted + posted, refused=done.refused + refused, total=done.total)
