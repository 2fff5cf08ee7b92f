"""What a scenario is. The table of all is `components.chaos.scenarios`."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from components.chaos.arena import Arena
from components.chaos.questions import Outage
from components.chaos.window import Stopped
from contracts.ids import GuildId


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, for the round's measurements and excuses."""

    words: str
    began_ms: float
    """When the harm began, on this machine's wall clock (as the simulator's record)."""
    guilds: frozenset[GuildId]
    """Those that it must have struck: their time without an owner is measured."""
    responders_down_ms: tuple[float, ...] = ()
    """When processes were ended that held a Discord session: questions that were theirs may fail
    until a session is resumed or begun."""
    outages: tuple[Outage, ...] = ()
    """When no first responder could make an interaction durable, or answer it: from the harm
    until every one of them was seen to be connected again. Questions may fail meanwhile."""
    stopped: tuple[Stopped, ...] = ()
    """Requests whose process was stopped between the gate and the socket and woke again: each
    leaves then, which nothing can prevent (0006)."""
    struck: tuple[str, ...] = ()
    """Of several faults at once, the names of those that did their harm."""


Injection: TypeAlias = Callable[[Arena], Awaitable[Fault]]
"""Does the harm and ends it; returns when nothing of it is left but its consequences."""


STEADY: Final = (
    "inputs",
    "effects",
    "effects_shown",
    "removals",
    "reports",
    "nonces",
    "threads",
    "bans",
    "facts",
    "requests",
    "probe_answers",
    "timers",
    "acts",
    "writes",
    "questions",
    "questions_to_edges",
    "states_of_owners",
    "states_of_followers",
    "states_of_replicas",
    "replicas",
    "openings",
    "moves",
)
"""What every round must exercise (`checker.Checked`)."""
STRIKES: Final = (*STEADY, "unowned")
"""And one in which a probed guild's owner is struck."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, and under which circumstances it is injected."""

    name: str
    words: str
    inject: Injection
    patience_s: float = 0.0
    """How long a client goes on asking before its request has failed. 0: the first answer counts
    (an edge looks for an owner for 2 s by itself)."""
    settle_s: float = 60.0
    """How long the owners may take, after the traffic's end, until they have nothing to do."""
    options: tuple[str, ...] = ()
    """Of `modbot up`, after the usual ones; a later one overrides."""
    must: tuple[str, ...] = STRIKES
    """What a round must exercise: one that checked none of it has failed."""
