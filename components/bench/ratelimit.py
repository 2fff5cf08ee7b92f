"""Four pods, one hot guild, the whole of Discord's budget.

The simulated Discord enforces its limits. Members of one guild post spam faster than 50 messages a
second, each of which is to be deleted; meanwhile, once a second, somebody falls into the honeypot
of a quiet guild and is to be banned, on each pod in turn. Measured is how much of the 50 requests
a second was used, how often the global limit refused one (never, it must be), and the longest time
from such a message to its ban.

The baseline in the same run is the even split: both replicas of config are stopped (SIGSTOP) while
nobody wants anything, and the last division holds.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from components.bench.result import Baseline, BenchResult, Figure
from components.bus.buckets import Bucket
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.record import Entry
from components.stack.live import LiveStack, live_stack
from components.traffic.guilds import put
from contracts import storage, subjects
from contracts.ids import ChannelId
from contracts.message import decode
from contracts.operations import ClusterStatus
from contracts.records import RestShares
from contracts.settings import GuildSettings, SpamSettings

PODS = 4
GLOBAL_PER_S = 50
USED_LIMIT = 0.9
BAN_LIMIT_S = 1.0
MARK = "@everyone @here"
"""Two mass pings: the message is deleted, nothing else happens."""
CHANNELS = 24
"""Of the hot guild: a channel's own limit of 5 deletions a second must not be what is measured."""
MEMBERS = 240
QUIET = 3
"""Quiet guilds for each pod."""
HONEYPOT = "do-not-post"
READY_S = 120.0
EXEMPT = ("/interactions/", "/webhooks/")


class RateLimitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``rate`` messages a second in the hot guild; each part is measured for ``measured_s`` after
    ``settling_s`` of the same load."""

    rate: float = 70.0
    measured_s: float = 20.0
    settling_s: float = 4.0
    seed: int = 1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one division was worth."""

    used_share: float
    ban_s: float
    requests: int
    bans: int


async def run_ratelimit(
    home: Path, options: RateLimitOptions, say: Callable[[str], None]
) -> BenchResult:
    """The `ratelimit` measurement on a stack of its own below ``home``."""
    say(f"starting the stack with {PODS} pods")
    counts = ("--gateways", str(PODS), "--configs", "2")
    async with live_stack(home, *counts, "--guilds", "0", "--log-level", "WARNING") as stack:
        control = stack.control
        hot, quiet = await _guilds(control)
        await _ready(stack, 1 + len(quiet))
        await put(stack.bus, quiet, _honeypot)
        await _divided(stack, lambda shares: max(shares) < 1.5 * GLOBAL_PER_S / PODS)
        load = Load(control, hot, quiet, options)
        async with _stopped(stack, "config-0", "config-1"):
            say("measuring the even split, with config stopped")
            even = await load.part()
        await load.drained()
        say("measuring shares by demand")
        ours = await load.part()
        refused = (await control.limits())["global_429"]
    figures = [
        Figure(
            name="used_share",
            value=round(ours.used_share, 3),
            unit="of 50/s",
            limit=USED_LIMIT,
            at_least=True,
            baseline=Baseline(name="even split", value=round(even.used_share, 3)),
        ),
        Figure(name="global_429", value=refused, unit="requests", limit=0),
        Figure(
            name="quiet_guild_ban_s",
            value=round(ours.ban_s, 3),
            unit="s",
            limit=BAN_LIMIT_S,
            baseline=Baseline(name="even split", value=round(even.ban_s, 3)),
        ),
        Figure(name="bans", value=ours.bans, unit="bans"),
        Figure(name="generator_late_ms", value=round(load.late_s * 1000, 1), unit="ms"),
    ]
    return BenchResult(
        bench="ratelimit",
        seed=options.seed,
        checked=ours.requests,
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )


class Load:
    """Spam in the hot guild, and one ban a second in the quiet ones."""

    def __init__(
        self,
        control: SimulatorControl,
        hot: GuildInfo,
        quiet: list[GuildInfo],
        options: RateLimitOptions,
    ) -> None:
        self._control = control
        self._hot = hot
        self._quiet = quiet
        self._options = options
        self._posted = 0
        self._baits = 0
        self._fallen: dict[str, str] = {}
        """Message in a honeypot to its author; nobody falls in twice."""
        self.late_s = 0.0
        """How far posting ever fell behind its schedule: a figure on the generator itself."""

    async def part(self) -> Part:
        """Post under the division in force and measure what it is worth."""
        options = self._options
        await self._post(options.settling_s, bait=False)
        self._fallen = {}
        start = (await self._control.record(limit=1)).last
        began = time.monotonic()
        await self._post(options.measured_s, bait=True)
        took_s = time.monotonic() - began
        entries = await self._control.record_all(("rest",), start)
        requests = sum(1 for entry in entries if counted(entry))
        # The last bans may be on their way.
        await asyncio.sleep(2 * BAN_LIMIT_S)
        entries = await self._control.record_all(("dispatch", "rest"), start)
        bans = ban_times(entries, self._fallen)
        return Part(
            used_share=requests / took_s / GLOBAL_PER_S,
            # One that did not happen took at least until now.
            ban_s=options.measured_s if len(bans) < len(self._fallen) else max(bans),
            requests=requests,
            bans=len(bans),
        )

    async def drained(self, wait_s: float = 120.0) -> None:
        """Wait until nothing is deleted any more."""
        async with asyncio.timeout(wait_s):
            while True:
                last = (await self._control.record(limit=1)).last
                await asyncio.sleep(2.0)
                page = await self._control.record_all(("rest",), last)
                if not any(entry.data["method"] == "DELETE" for entry in page):
                    return

    async def _post(self, seconds: float, *, bait: bool) -> None:
        options = self._options
        count = int(options.rate * seconds)
        every = max(1, int(options.rate))
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                wait_s = began + number / options.rate - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                self.late_s = max(self.late_s, -wait_s)
                group.create_task(self._spam())
                if bait and number % every == every // 2:
                    group.create_task(self._fall())

    async def _spam(self) -> None:
        self._posted += 1
        # Always in the same channel: hopping between channels would be punished harder.
        author = self._hot.members[self._posted % MEMBERS]
        channel = self._hot.channels[f"room-{self._posted % CHANNELS}"]
        await self._control.post(channel, author.id, f"{MARK} number {self._posted}")

    async def _fall(self) -> None:
        guild = self._quiet[self._baits % len(self._quiet)]
        member = guild.members[self._baits // len(self._quiet)]
        self._baits += 1
        channel = guild.channels[HONEYPOT]
        message = await self._control.post(channel, member.id, f"hello {self._baits}")
        self._fallen[str(message)] = str(member.id)


def counted(entry: Entry) -> bool:
    """Whether Discord's global limit counted the request, by the simulator's record."""
    path = entry.data["path"]
    return entry.data.get("scope") not in ("global", "cloudflare") and not path.startswith(EXEMPT)


def ban_times(entries: list[Entry], fallen: dict[str, str]) -> list[float]:
    """Seconds from the dispatch of each message to the first request to ban its author."""
    posted: dict[str, float] = {}
    took: dict[str, float] = {}
    for entry in entries:
        data = entry.data
        if entry.kind == "dispatch" and data["event"] == "MESSAGE_CREATE":
            if (author := fallen.get(data["subject_id"])) is not None:
                posted.setdefault(author, entry.at_ms)
        elif entry.kind == "rest" and data["method"] == "PUT" and "/bans/" in data["path"]:
            user = data["path"].rsplit("/", 1)[1]
            if user in posted and data["status"] < 300:
                took.setdefault(user, (entry.at_ms - posted[user]) / 1000)
    return list(took.values())


async def _guilds(control: SimulatorControl) -> tuple[GuildInfo, list[GuildInfo]]:
    (hot,) = await control.create_guilds(
        count=1,
        name="hot",
        members=_people("hot", MEMBERS),
        channels=[{"name": f"room-{number}"} for number in range(CHANNELS)],
    )
    quiet = await control.create_guilds(
        count=QUIET * PODS,
        name="quiet-{n}",
        members=_people("quiet", 12),
        channels=[{"name": HONEYPOT}],
    )
    return hot, quiet


def _people(name: str, count: int) -> list[dict[str, str]]:
    now = datetime.now(UTC)
    return [
        {
            "username": f"{name}-{number}",
            "created_at": (now - timedelta(days=900)).isoformat(),
            "joined_at": (now - timedelta(days=300)).isoformat(),
        }
        for number in range(count)
    ]


def _honeypot(guild: GuildInfo) -> GuildSettings:
    channel = ChannelId(str(guild.channels[HONEYPOT]))
    return GuildSettings(spam=SpamSettings(honeypot_channels=(channel,)))


async def _ready(stack: LiveStack, guilds: int) -> None:
    """Wait until every guild is served, and every pod serves some."""
    async with asyncio.timeout(READY_S):
        while True:
            reply = await stack.bus.ask(subjects.config_endpoint("status"), b"{}", timeout_s=5)
            open_now = [pod.open for pod in decode(reply.data, ClusterStatus).pods]
            if sum(open_now) >= guilds and len(open_now) == PODS and min(open_now) > 0:
                return
            await asyncio.sleep(0.5)


async def _divided(stack: LiveStack, as_wanted: Callable[[list[float]], bool]) -> None:
    """Wait until the whole limit is divided in this way."""
    bucket = Bucket(stack.bus, storage.SHARES)
    async with asyncio.timeout(READY_S):
        async for entry in bucket.watch("rest"):
            if entry is None or entry.value is None:
                continue
            record = decode(entry.value, RestShares).shares
            shares = [n for who, n in record.items() if not who.startswith(storage.SHARD_REPLICA)]
            whole = len(shares) == PODS and sum(record.values()) == GLOBAL_PER_S
            if whole and as_wanted(shares):
                return


@asynccontextmanager
async def _stopped(stack: LiveStack, *names: str) -> AsyncIterator[None]:
    pids = [stack.process(name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
