"""Spreads guilds evenly, by itself or when asked: asks `balance` for a plan and the leader for its
moves.

Config looks every ``balance_every_s``, and at once when a pod has come or takes guilds again. It
moves nothing while it is paused, while the leader is new and knows no weights (`beginning`), while
a pod is starting, leaving or gone for less than the grace (it will be back, or `decide` gives its
guilds to others first), and while moves are under way. What crashes, drains and pins need is
`decide`'s to do; it is in the plan for people all the same.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from components.config.balance import BalanceOptions, BalancePlan, GuildLoad, Move, PodRoom, plan
from components.config.beginning import Beginning
from components.config.placing import Placer
from components.config.settings import ConfigSettings
from components.config.standing import serving_pods
from components.config.view import View
from components.config.world import Wanted
from components.process.clock import SteadyClock, steady_s
from contracts.ids import GuildId, PodId

log = logging.getLogger(__name__)

OURS = frozenset({"balance", "capacity", "zone"})
"""Causes of moves that nobody but balance makes."""
UNSETTLED_S = 1.0
"""When to look again while pods come or go."""
BY_ITSELF = "config"


class Balancer:
    """The leader's work on balance, and the plan for people on any replica."""

    def __init__(
        self, view: View, placer: Placer, settings: ConfigSettings, *, clock: SteadyClock = steady_s
    ) -> None:
        self._clock = clock
        self._view = view
        self._placer = placer
        self._settings = settings
        self._options = BalanceOptions(followers=settings.followers)
        self._beginning = Beginning(settings.balance_every_s)
        self._news = asyncio.Event()
        self._serving: frozenset[PodId] = frozenset()

    def news(self) -> None:
        """Something changed: look whether a pod has come, or takes guilds again."""
        serving = serving_pods(self._view.pods) - self._view.intents.draining
        if serving - self._serving:
            self._news.set()
        self._serving = serving

    async def lead(self) -> None:
        """Spread guilds until cancelled."""
        self._beginning.begin(steady_s())
        while True:
            pause_s = self._settings.balance_every_s
            if self._view.complete and not self._view.intents.paused:
                pause_s = await self._once()
            await self._pause(pause_s)

    async def plan(self) -> BalancePlan:
        """What would be moved now. 100,000 guilds take two seconds, so it is not done on the loop
        that renews the leader's lease."""
        return await asyncio.to_thread(self.question())

    def question(self) -> Callable[[], BalancePlan]:
        """What `plan` answers for the cluster as it is now; may be called on another thread."""
        rooms, loads = self._rooms(), list(self._loads())
        pins = self._view.intents.pinned
        return partial(plan, rooms, loads, pins, self._options)

    def wishes(self, moves: Iterable[Move], *, by: str, operation: str = "") -> list[Wanted]:
        """The moves of a plan as the leader takes them: one wish a guild, the follower's after the
        owner's."""
        wishes: dict[GuildId, Wanted] = {}
        for move in moves:
            if move.to_pod is None or move.cause not in OURS:
                continue
            wish = Wanted(
                guild=move.guild,
                pod=move.to_pod,
                purpose=move.kind,
                cause="rebalanced",
                by=by,
                reason=move.reason,
                operation=operation,
            )
            known = wishes.get(move.guild)
            wishes[move.guild] = wish if known is None else known.followed_by(wish)
        return list(wishes.values())

    @property
    def settled(self) -> bool:
        """Whether nobody comes or goes, so that a plan is worth its moves."""
        now_s = self._clock()
        for pod in self._view.pods.values():
            if pod.pod not in self._view.index.by_pod:
                continue
            lease = pod.here
            if lease is not None and lease.state != "serving":
                return False
            gone_s = now_s - pod.away_since_s if pod.away_since_s is not None else None
            if gone_s is not None and gone_s < self._settings.grace_s:
                return False
        return True

    async def _once(self) -> float:
        """Look once; returns when to look again."""
        leader = self._placer.leader
        if not self._beginning.is_over(steady_s(), self._view.pods, self._view.weights):
            return UNSETTLED_S
        if not self.settled:
            return UNSETTLED_S
        if any(wish.cause == "rebalanced" for wish in leader.wanted.values()):
            return UNSETTLED_S
        started_s = steady_s()
        planned = await self.plan()
        wishes = self.wishes(planned.moves, by=BY_ITSELF)
        if wishes and self._view.complete and not self._view.intents.paused:
            log.info(
                "spreading guilds: %d moves, max/mean %.2f to %.2f, planned in %.3f s",
                len(wishes),
                planned.before.load_max_over_mean,
                planned.after.load_max_over_mean,
                steady_s() - started_s,
            )
            leader.want(wishes)
            self._placer.news()
        return self._settings.balance_every_s

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._news.wait()
        except TimeoutError:
            log.debug("looking whether guilds are spread evenly")
        self._news.clear()

    def _rooms(self) -> list[PodRoom]:
        rooms = []
        for pod in self._view.pods.values():
            lease = pod.lease
            if lease is None or (pod.away_since_s is not None and not self._awaited(pod.pod)):
                continue
            rooms.append(
                PodRoom(
                    pod=pod.pod,
                    zone=lease.zone,
                    capacity=lease.capacity,
                    draining=pod.pod in self._view.intents.draining or lease.state == "draining",
                    ends=lease.state == "draining",
                    away=pod.here is None or lease.state == "starting",
                )
            )
        return rooms

    def _awaited(self, pod: PodId) -> bool:
        since_s = self._view.pods[pod].away_since_s
        return since_s is not None and self._clock() - since_s < self._settings.grace_s

    def _loads(self) -> Iterator[GuildLoad]:
        for guild, held in self._view.assignments.items():
            owned = held.assignment
            follower = owned.follower.pod if owned.follower is not None else None
            joining = owned.joining
            if joining is not None and joining.purpose == "follow":
                follower = joining.pod
            yield GuildLoad(
                guild=guild,
                weight=self._view.weights.of(guild),
                doubt=self._view.weights.doubt_of(guild),
                owner=joining.pod
                if joining is not None and joining.purpose == "own"
                else owned.pod,
                follower=follower,
            )
