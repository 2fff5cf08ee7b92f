"""An operator: what people ask of config, at any moment.

What is to stay (a pod to be empty, a pin, a pause) is written to bucket ``intent``, as
`components.config.commands` does. A move and a rebalance are told to the leader that there is, and
are forgotten with it: a new leader finds what is under way in the assignments alone.
"""

from typing import TYPE_CHECKING

from components.config.intents import BALANCE
from components.config.world import Wanted
from components.simulate.config import Config
from components.simulate.hosts import PodHost
from contracts import storage
from contracts.ids import GuildId, PodId
from contracts.message import Message
from contracts.records import BalanceIntent, GuildIntent, PodIntent

if TYPE_CHECKING:
    from components.simulate.cluster import Cluster

WHO = "operator"


class Operator:
    """Wants something else than there is."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._loop = cluster.loop
        self._acts = (
            (4.0, self._moves_one),
            (1.2, self._drains),
            (1.3, self._restarts),
            (1.5, self._pins),
            (1.0, self._rebalances),
            (0.7, self._pauses),
        )

    def act(self) -> None:
        """Ask for something."""
        at = self._loop.random() * sum(weight for weight, _ in self._acts)
        for weight, ask in self._acts:
            at -= weight
            if at <= 0:
                ask()
                return

    def move(self, guild: str) -> None:
        """Ask for a move of the guild."""
        leader = self._leader()
        if leader is None:
            return
        self._cluster.watcher.event("move asked for")
        wanted = Wanted(
            guild=GuildId(guild),
            pod=PodId(self._pod().name),
            purpose="own" if self._loop.happens(0.8) else "follow",
            cause="moved",
            by=WHO,
            reason="asked for",
        )
        leader.leader.want([wanted])
        leader.news()

    def _moves_one(self) -> None:
        self.move(self._guild())

    def _drains(self) -> None:
        host = self._pod()
        self._cluster.watcher.event("drain asked for")
        self._empty(host, draining=True)
        self._loop.after(self._loop.between(2.0, 8.0), lambda: self._empty(host, draining=False))

    def _restarts(self) -> None:
        host = self._pod()
        program = host.running
        if program is not None and not program.process.stopped:
            self._cluster.watcher.event("restart asked for")
            host.restart_s = (0.2, 2.0)
            program.terminate()

    def _pins(self) -> None:
        guild, host = self._guild(), self._pod()
        self._cluster.watcher.event("pin asked for")
        pin = GuildIntent(guild=GuildId(guild), pod=PodId(host.name), by=WHO, since_ms=0)
        self._intend(f"guild.{guild}", pin)
        if self._loop.happens(0.6):
            self._loop.after(self._loop.between(0.0, 8.0), lambda: self._unpin(guild))

    def _unpin(self, guild: str) -> None:
        self._cluster.watcher.event("unpin asked for")
        self._intend(f"guild.{guild}", None)

    def _rebalances(self) -> None:
        leader = self._leader()
        if leader is not None and leader.leading and leader.view.complete:
            self._cluster.watcher.event("rebalance asked for")
            leader.spread(by=WHO)

    def _pauses(self) -> None:
        self._cluster.watcher.event("pause asked for")
        self._intend(BALANCE, BalanceIntent(paused=True, by=WHO, since_ms=0))
        if self._loop.happens(0.7):
            self._loop.after(self._loop.between(1.0, 8.0), self._resume)

    def _resume(self) -> None:
        self._cluster.watcher.event("resume asked for")
        self._intend(BALANCE, BalanceIntent(paused=False, by=WHO, since_ms=0))

    def _empty(self, host: PodHost, *, draining: bool) -> None:
        intent = PodIntent(pod=PodId(host.name), draining=draining, by=WHO, since_ms=0)
        self._intend(f"pod.{host.name}", intent)

    def _intend(self, key: str, intent: Message | None) -> None:
        self._cluster.server.buckets[storage.INTENT].write(key, intent, None, None)

    def _leader(self) -> Config | None:
        host = self._cluster.leader()
        program = host.running if host is not None else None
        return program if isinstance(program, Config) else None

    def _pod(self) -> PodHost:
        pods = self._cluster.pods
        return pods[int(self._loop.random() * len(pods))]

    def _guild(self) -> str:
        guilds = self._cluster.guilds
        return guilds[int(self._loop.random() * len(guilds))]
