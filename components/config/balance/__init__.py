"""Placement of guilds on pods: balanced, with few moves, explained, and pure."""

from components.config.balance.model import (
    BalanceOptions,
    BalancePlan,
    Figures,
    GuildLoad,
    Move,
    Note,
    PodRoom,
)
from components.config.balance.planning import applied, plan
from components.config.balance.weights import DEFAULT_WEIGHT, weigh

__all__ = [
    "DEFAULT_WEIGHT",
    "BalanceOptions",
    "BalancePlan",
    "Figures",
    "GuildLoad",
    "Move",
    "Note",
    "PodRoom",
    "applied",
    "plan",
    "weigh",
]
