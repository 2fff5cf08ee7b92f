"""From a message on the simulator's socket to the REST call that deletes it.

One run, one simulator, two bots: modbot's whole stack in one half of the guilds, a bare
discord.py bot in the other half. Messages go to the halves in alternating blocks at the same
rate, so that both meet the same machine. Both times are the simulator's own: when it handed the
message to the socket, and when the DELETE arrived.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from components.bench.result import Baseline, BenchResult, Figure, percentile
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.record import Entry

MARK = "@everyone @here"
"""What both delete: the baseline by this text, modbot by the score of two mass pings (medium)."""
MEMBERS = 5
"""People who post in each guild: each posts far too seldom to be rapid."""

P50_LIMIT_MS = 25.0
P99_LIMIT_MS = 50.0
OVER_P50_LIMIT_MS = 5.0
OVER_P99_LIMIT_MS = 15.0


class EventOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``guilds`` for each bot; ``rate`` messages a second, ``share`` of which hold the mark;
    ``blocks`` of ``block_s`` seconds for each bot, after a warm-up of one block each."""

    guilds: int = 1000
    rate: float = 200.0
    share: float = 0.1
    blocks: int = 5
    block_s: float = 12.0
    seed: int = 1


class Poster:
    """Posts messages of one half of the guilds at a rate, and remembers the marked ones."""

    def __init__(
        self, control: SimulatorControl, guilds: list[GuildInfo], options: EventOptions, seed: int
    ) -> None:
        self._control = control
        self._guilds = guilds
        self._options = options
        self._dice = random.Random(seed)
        self._number = 0
        self.marked: set[str] = set()
        self.late_s = 0.0
        """How far posting ever fell behind its schedule: a figure on the generator itself."""

    async def block(self, *, measured: bool) -> int:
        """Post one block; returns how many messages."""
        options = self._options
        count = int(options.rate * options.block_s)
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = started + number / options.rate
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                self.late_s = max(self.late_s, -wait)
                group.create_task(self._post(measured=measured))
        return count

    async def _post(self, *, measured: bool) -> None:
        self._number += 1
        guild = self._dice.choice(self._guilds)
        author = self._dice.choice(guild.members)
        marked = self._dice.random() < self._options.share
        text = f"{MARK} number {self._number}" if marked else f"good morning number {self._number}"
        channel = guild.channels["general"]
        message = await self._control.post(channel, author.id, text)
        if marked and measured:
            self.marked.add(str(message))


async def create_half(
    control: SimulatorControl, options: EventOptions, application: int, name: str
) -> list[GuildInfo]:
    """Guilds for one bot, with members whose accounts are old."""
    now = datetime.now(UTC)
    people = [
        {
            "username": f"{name}-{number}",
            "created_at": (now - timedelta(days=900)).isoformat(),
            "joined_at": (now - timedelta(days=300)).isoformat(),
        }
        for number in range(MEMBERS)
    ]
    return await control.create_guilds(
        count=options.guilds, name=f"{name}-{{n}}", members=people, applications=[application]
    )


async def measure(
    control: SimulatorControl,
    ours: list[GuildInfo],
    theirs: list[GuildInfo],
    options: EventOptions,
    say: Callable[[str], None],
) -> BenchResult:
    """Post to both halves in turn and compare. Every marked message must have been deleted by
    its bot, else the result is not ok."""
    modbot = Poster(control, ours, options, options.seed)
    baseline = Poster(control, theirs, options, options.seed)
    start = (await control.record(limit=1)).last
    for number in range(options.blocks + 1):
        for name, poster in (("baseline", baseline), ("modbot", modbot)):
            say(f"block {number} of {options.blocks}: {name}")
            await poster.block(measured=number > 0)
    waited_for = modbot.marked | baseline.marked
    entries = await _until_deleted(control, start, waited_for)
    times = latencies(entries)
    ours_ms = [times[message] for message in modbot.marked if message in times]
    theirs_ms = [times[message] for message in baseline.marked if message in times]
    missing = len(waited_for) - len(ours_ms) - len(theirs_ms)
    figures = compare(ours_ms, theirs_ms)
    figures.append(Figure(name="not_deleted", value=missing, unit="messages", limit=0))
    late_ms = max(modbot.late_s, baseline.late_s) * 1000
    figures.append(Figure(name="generator_late_ms", value=round(late_ms, 1), unit="ms"))
    return BenchResult(
        bench="event",
        seed=options.seed,
        checked=len(ours_ms),
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )


def compare(ours_ms: list[float], theirs_ms: list[float]) -> list[Figure]:
    """The figures of two samples of latencies."""
    figures = []
    for share, name, limit, over_limit in (
        (0.50, "p50", P50_LIMIT_MS, OVER_P50_LIMIT_MS),
        (0.99, "p99", P99_LIMIT_MS, OVER_P99_LIMIT_MS),
    ):
        mine, base = percentile(ours_ms, share), percentile(theirs_ms, share)
        figures.append(
            Figure(
                name=f"latency_{name}_ms",
                value=round(mine, 2),
                unit="ms",
                limit=limit,
                baseline=Baseline(name="discord.py", value=round(base, 2)),
            )
        )
        figures.append(
            Figure(
                name=f"over_baseline_{name}_ms",
                value=round(mine - base, 2),
                unit="ms",
                limit=over_limit,
            )
        )
    return figures


def latencies(entries: list[Entry]) -> dict[str, float]:
    """Message to milliseconds between its first dispatch and the first DELETE of it."""
    sent: dict[str, float] = {}
    took: dict[str, float] = {}
    for entry in entries:
        if entry.kind == "dispatch" and entry.data["event"] == "MESSAGE_CREATE":
            sent.setdefault(entry.data["subject_id"], entry.at_ms)
        elif entry.kind == "rest" and entry.data["method"] == "DELETE":
            message = entry.data["path"].rsplit("/", 1)[1]
            if message in sent and message not in took:
                took[message] = entry.at_ms - sent[message]
    return took


async def _until_deleted(
    control: SimulatorControl, start: int, messages: set[str], wait_s: float = 30.0
) -> list[Entry]:
    """The record up to the DELETE of the last of the messages (or up to ``wait_s`` from now)."""
    entries: list[Entry] = []
    left = set(messages)
    try:
        async with asyncio.timeout(wait_s):
            async for entry in control.follow(("dispatch", "rest"), start):
                entries.append(entry)
                if entry.kind == "rest" and entry.data["method"] == "DELETE":
                    left.discard(entry.data["path"].rsplit("/", 1)[1])
                    if not left:
                        break
    except TimeoutError:
        pass  # what is missing is counted and makes the result not ok
    return entries
