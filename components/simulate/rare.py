"""Rare pairs: two things that seldom meet, and where protocols break when they do.

Each is a sum over what the `Watcher` counts. That every one of them is reached is tested over the
seeds of ``make test`` (`tests/unit/simulate/test_seeds.py`).
"""

from collections.abc import Mapping
from typing import Final

KILLS: Final = ("kill", "kill and wipe", "kill unattested", "kill unattested and wipe")
STOPS: Final = ("long stop", "short stop")
LIVE: Final = ("fence of a live pod", "fence of a live pod, cut off")


def _during(phase: str, *events: str) -> tuple[str, ...]:
    return tuple(f"{event} during {phase}" for event in events)


RARE: Final[Mapping[str, tuple[str, ...]]] = {
    "move during takeover": _during("takeover", "epoch moved"),
    "rebalancing during takeover": _during("takeover", "epoch rebalanced"),
    "pinned move during takeover": _during("takeover", "epoch pinned"),
    "drain during takeover": _during("takeover", "epoch drained"),
    "leader change during move": _during("move", "leader change"),
    "leader change during handover": _during("handover", "leader change"),
    "leader change during takeover": _during("takeover", "leader change"),
    "leader stops in order during move": _during("move", "config stop in order"),
    "leader stops in order during takeover": _during("takeover", "config stop in order"),
    "living leader deposed": ("leads no longer: the lease was taken",),
    "fence during move": _during("move", "fence"),
    "fence during handover": _during("handover", "fence"),
    "fence of a live pod": LIVE,
    "fence of a live pod during takeover": _during("takeover", *LIVE),
    "fence of a stopped pod during takeover": _during("takeover", "fence of a stopped pod"),
    "kill during move": _during("move", *KILLS),
    "kill during handover": _during("handover", *KILLS),
    "kill during release": _during("release", *KILLS),
    "stop during handover": _during("handover", *STOPS),
    "NATS away during move": _during("move", "NATS away"),
    "NATS away during takeover": _during("takeover", "NATS away"),
    "clock jump of NATS during takeover": _during("takeover", "NATS clock jump"),
    "duplicate delivery during move": _during("move", "duplicate delivery"),
    "duplicate delivery during handover": _during("handover", "duplicate delivery"),
    "duplicate delivery during takeover": _during("takeover", "duplicate delivery"),
    "owner and follower lost during takeover": _during("takeover", "pair"),
    "pin asked for during move": _during("move", "pin asked for"),
    "unpin asked for during takeover": _during("takeover", "unpin asked for"),
    "rebalance asked for during takeover": _during("takeover", "rebalance asked for"),
    "pause asked for during takeover": _during("takeover", "pause asked for"),
    "drain asked for during move": _during("move", "drain asked for"),
    "restart asked for during takeover": _during("takeover", "restart asked for"),
    "two machines for one pod": ("twin",),
    "two machines for one pod during takeover": _during("takeover", "twin"),
    "taken back without a leader": ("readopted",),
    "built from a replica": ("holds from replica",),
}


def rare(transitions: Mapping[str, int]) -> dict[str, int]:
    """How often each was seen, those never seen included."""
    return {
        name: sum(transitions.get(event, 0) for event in events) for name, events in RARE.items()
    }
