"""The plan: from pods, guilds, weights and pins to moves, with a reason for each.

`plan` is a pure function: the same input gives the same plan, in whatever order it is given.
`applied` says what the guilds look like once moves are made; planning on that gives no moves.
Raises ValueError if a pod is listed twice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from components.config.balance.followers import Followers
from components.config.balance.layout import NOBODY, Layout
from components.config.balance.model import (
    BalanceOptions,
    BalancePlan,
    Figures,
    GuildLoad,
    Move,
    PodRoom,
)
from components.config.balance.notes import explain
from components.config.balance.owners import Owners
from components.config.balance.reasons import Reasons
from contracts.ids import GuildId, PodId

URGENCY = {"gone": 0, "placed": 1, "pinned": 2, "drained": 3, "off": 4, "capacity": 5, "zone": 6}
"""Lower first; balance comes last."""


def plan(
    pods: Iterable[PodRoom],
    guilds: Iterable[GuildLoad],
    pins: Mapping[GuildId, PodId] | None = None,
    options: BalanceOptions | None = None,
) -> BalancePlan:
    """What to move, in which order, and why not more."""
    options = options or BalanceOptions()
    layout = Layout(pods, guilds, pins or {})
    owners = Owners(layout, options)
    owners.settle()
    followers = Followers(layout, options, owners.owner)
    followers.settle()
    settled = _in_order(layout, owners, followers)
    moves = _with_room(layout, owners, settled)
    kept = moves[: options.budget]
    left_over = len(moves) - len(kept)
    owner, follower = owners.owner, followers.follower
    if len(kept) < len(settled):
        owner, follower = _after(layout, kept)
    return BalancePlan(
        moves=kept,
        notes=explain(layout, options, owners, followers, left_over),
        before=_figures(layout, options, layout.owner, layout.follower),
        after=_figures(layout, options, owner, follower),
        left_over=left_over,
        own_weight_moved=sum(move.weight for move in moves if move.kind == "own"),
        own_weight_bound=owners.bound,
        follow_weight_moved=options.follower_share
        * sum(move.weight for move in moves if move.kind == "follow" and move.to_pod is not None),
        follow_weight_bound=followers.bound,
    )


def applied(
    guilds: Iterable[GuildLoad], moves: Iterable[Move], pods: Iterable[PodRoom]
) -> list[GuildLoad]:
    """The guilds once the moves are made, in the order in which they were given."""
    staying = {pod.pod for pod in pods if not pod.draining}
    loads = {load.guild: load for load in guilds}
    for move in moves:
        load = loads[move.guild]
        if move.kind == "follow":
            changed = msgspec.structs.replace(load, follower=move.to_pod)
        elif move.to_pod == load.follower:
            before = load.owner if load.owner in staying else None
            changed = msgspec.structs.replace(load, owner=move.to_pod, follower=before)
        else:
            changed = msgspec.structs.replace(load, owner=move.to_pod)
        loads[move.guild] = changed
    return list(loads.values())


def _in_order(layout: Layout, owners: Owners, followers: Followers) -> list[Move]:
    """Urgent moves first, each kind as it was decided: what gives most relief first. A guild's
    follower moves right after its owner, where both do."""
    reasons = Reasons(layout, owners, followers)
    queues: list[list[Move]] = [[] for _ in range(len(URGENCY) + 1)]
    last = len(URGENCY)
    owner, before, follower, start = owners.owner, layout.owner, followers.follower, followers.start
    for guild in owners.cause | followers.cause:
        owned = owner[guild] != before[guild]
        followed = follower[guild] != start[guild]
        urgency = last
        if owned:
            urgency = URGENCY.get(owners.cause[guild], last)
        if followed:
            urgency = min(urgency, URGENCY.get(followers.cause[guild], last))
        if owned:
            queues[urgency].append(_own_move(layout, owners, reasons, guild))
        if followed:
            queues[urgency].append(_follow_move(layout, owners, followers, reasons, guild))
    return list(chain.from_iterable(queues))


def _with_room(layout: Layout, owners: Owners, moves: list[Move]) -> list[Move]:
    """The same, with a move to a full pod after the moves that make room there."""
    room = [pod.capacity for pod in layout.pods]
    arriving = list(room)
    for before, now in zip(layout.owner, owners.owner, strict=True):
        if before != NOBODY:
            room[before] -= 1
            arriving[before] -= 1
        if now not in (NOBODY, before):
            arriving[now] -= 1
    if all(arriving[pod] >= 0 for pod in layout.taking):
        return moves  # room enough for all who come, even before anyone leaves
    left = {layout.name(at): free for at, free in enumerate(room)}
    ordered: list[Move] = []
    while moves:
        later: dict[GuildId, list[Move]] = {}
        for move in moves:
            if move.guild in later:
                later[move.guild].append(move)
                continue
            if move.kind == "own" and move.to_pod is not None:
                if left[move.to_pod] < 1:
                    later[move.guild] = [move]
                    continue
                left[move.to_pod] -= 1
                if move.from_pod in left:
                    left[move.from_pod] += 1
            ordered.append(move)
        waiting = list(chain.from_iterable(later.values()))
        if len(waiting) == len(moves):  # full pods that would exchange guilds: balance without
            break
        moves = waiting
    return ordered


def _own_move(layout: Layout, owners: Owners, reasons: Reasons, guild: int) -> Move:
    load, target = layout.guilds[guild], owners.owner[guild]
    return Move(
        guild=load.guild,
        kind="own",
        from_pod=load.owner,
        to_pod=layout.name(target),
        cause=owners.cause[guild],
        promotes=target == layout.follower[guild],
        reason=reasons.own(guild),
        weight=layout.weight[guild],
    )


def _follow_move(
    layout: Layout, owners: Owners, followers: Followers, reasons: Reasons, guild: int
) -> Move:
    target, source = followers.follower[guild], followers.start[guild]
    load = layout.guilds[guild]
    was = load.follower
    if layout.owner[guild] != owners.owner[guild] == layout.follower[guild]:  # promoted
        was = None if source == NOBODY else layout.name(source)
    return Move(
        guild=load.guild,
        kind="follow",
        from_pod=was,
        to_pod=None if target == NOBODY else layout.name(target),
        cause=followers.cause[guild],
        reason=reasons.follow(guild),
        weight=layout.weight[guild],
    )


def _after(layout: Layout, moves: Iterable[Move]) -> tuple[list[int], list[int]]:
    """Owner and follower of each guild once the moves are made, as `applied` says it."""
    index = {pod.pod: at for at, pod in enumerate(layout.pods)}
    number = {load.guild: guild for guild, load in enumerate(layout.guilds)}
    owner, follower = list(layout.owner), list(layout.follower)
    for move in moves:
        guild = number[move.guild]
        target = NOBODY if move.to_pod is None else index[move.to_pod]
        if move.kind == "follow":
            follower[guild] = target
            continue
        if target == follower[guild]:
            before = owner[guild]
            stays = before != NOBODY and not layout.pods[before].draining
            follower[guild] = before if stays else NOBODY
        owner[guild] = target
    return owner, follower


def _figures(
    layout: Layout, options: BalanceOptions, owner: Sequence[int], follower: Sequence[int]
) -> Figures:
    owned = [0.0] * len(layout.pods)
    load = [0.0] * len(layout.pods)
    for guild, weight in enumerate(layout.weight):
        if owner[guild] != NOBODY:
            owned[owner[guild]] += weight
            load[owner[guild]] += weight
        if follower[guild] != NOBODY:
            load[follower[guild]] += weight * options.follower_share
    return Figures(
        owned_max_over_mean=_over_mean(max, [owned[pod] for pod in layout.taking]),
        load_max_over_mean=_over_mean(max, [load[pod] for pod in layout.taking]),
        load_min_over_mean=_over_mean(min, [load[pod] for pod in layout.taking]),
    )


def _over_mean(which: Callable[[Sequence[float]], float], loads: Sequence[float]) -> float:
    total = sum(loads)
    return which(loads) * len(loads) / total if total > 0 else 0.0
