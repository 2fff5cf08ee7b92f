"""What operators want, as bucket ``intent`` shows it. A value that cannot be read is logged and
counts as not there."""

import logging
from typing import TypeVar

from components.bus.entries import Entry
from contracts.ids import GuildId, PodId
from contracts.message import MalformedMessage, Message, decode
from contracts.records import BalanceIntent, GuildIntent, MoveIntent, PodIntent, RebalanceIntent

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")
M = TypeVar("M", bound=Message)

BALANCE = "balance"
REBALANCE = "rebalance"


class Intents:
    """The mirror of the bucket. `entry` returns whom a change concerns."""

    def __init__(self) -> None:
        self.pods: dict[PodId, PodIntent] = {}
        self.pins: dict[GuildId, GuildIntent] = {}
        self.moves: dict[GuildId, MoveIntent] = {}
        self.balance: BalanceIntent | None = None
        self.rebalance: RebalanceIntent | None = None
        self.revisions: dict[str, int] = {}
        """Of the keys that hold a value."""

    @property
    def draining(self) -> set[PodId]:
        """Pods that are to be empty."""
        return {pod for pod, intent in self.pods.items() if intent.draining}

    @property
    def paused(self) -> bool:
        """Whether config moves nothing by itself."""
        return self.balance is not None and self.balance.paused

    @property
    def pinned(self) -> dict[GuildId, PodId]:
        """Where guilds must be."""
        return {guild: intent.pod for guild, intent in self.pins.items()}

    @property
    def askers(self) -> dict[str, str]:
        """Who wants a pod empty or a guild pinned, by the intent's key."""
        drains = {f"pod.{pod}": intent.by for pod, intent in self.pods.items() if intent.draining}
        return drains | {f"guild.{guild}": intent.by for guild, intent in self.pins.items()}

    def clear(self) -> None:
        """Nothing is wanted."""
        self.__init__()  # type: ignore[misc]  # the same start

    def entry(self, entry: Entry) -> tuple[PodId | None, GuildId | None]:
        """Take an entry in; returns the pod or the guild that it is about."""
        _put(self.revisions, entry.key, entry.revision if entry.value is not None else None)
        kind, _, name = entry.key.partition(".")
        if kind == "pod":
            _put(self.pods, PodId(name), _read(entry, PodIntent))
            return PodId(name), None
        if kind == "guild":
            _put(self.pins, GuildId(name), _read(entry, GuildIntent))
            return None, GuildId(name)
        if kind == "move":
            _put(self.moves, GuildId(name), _read(entry, MoveIntent))
            return None, GuildId(name)
        if entry.key == BALANCE:
            self.balance = _read(entry, BalanceIntent)
        elif entry.key == REBALANCE:
            self.rebalance = _read(entry, RebalanceIntent)
        else:
            log.warning("key %s of bucket intent is nothing that config knows", entry.key)
        return None, None


def _put(known: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        known.pop(key, None)
    else:
        known[key] = value


def _read(entry: Entry, kind: type[M]) -> M | None:
    if entry.value is None:
        return None
    try:
        return decode(entry.value, kind)
    except MalformedMessage as error:
        log.warning("intent %s at revision %d: %s", entry.key, entry.revision, error)
        return None
