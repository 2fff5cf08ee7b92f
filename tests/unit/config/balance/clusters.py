"""Clusters to plan for, made in a line or drawn by hypothesis."""

from collections import Counter
from collections.abc import Iterable, Sequence

import hypothesis.strategies as st

from components.config.balance import BalanceOptions, GuildLoad, PodRoom, applied, plan
from contracts.ids import GuildId, PodId

PLENTY = 1_000_000
"""A capacity that never matters."""


def pod(
    name: str,
    *,
    zone: str = "",
    capacity: int = PLENTY,
    draining: bool = False,
    ends: bool = False,
    away: bool = False,
) -> PodRoom:
    return PodRoom(
        pod=PodId(name), zone=zone, capacity=capacity, draining=draining, ends=ends, away=away
    )


def guild(
    number: int,
    owner: str | None = None,
    follower: str | None = None,
    weight: float = 1.0,
    doubt: float = 0.0,
) -> GuildLoad:
    return GuildLoad(
        guild=GuildId(str(number)),
        weight=weight,
        doubt=doubt,
        owner=None if owner is None else PodId(owner),
        follower=None if follower is None else PodId(follower),
    )


def pods(count: int) -> list[PodRoom]:
    return [pod(f"pod-{number:02}") for number in range(count)]


def balanced(
    pods: Sequence[PodRoom], count: int, options: BalanceOptions | None = None
) -> list[GuildLoad]:
    """Equal guilds, as planning places them on empty pods."""
    guilds = [guild(number) for number in range(1, count + 1)]
    return applied(guilds, plan(pods, guilds, options=options).moves, pods)


def owned(guilds: Iterable[GuildLoad], pods: Iterable[PodRoom]) -> dict[PodId, float]:
    """Weight owned by each pod."""
    weights = dict.fromkeys((pod.pod for pod in pods), 0.0)
    for load in guilds:
        if load.owner in weights:
            weights[load.owner] += load.weight
    return weights


def work(
    guilds: Iterable[GuildLoad], pods: Iterable[PodRoom], share: float = 0.5
) -> dict[PodId, float]:
    """Weight owned, and the share of the weight followed, of each pod."""
    weights = owned(guilds, pods)
    for load in guilds:
        if load.follower in weights:
            weights[load.follower] += load.weight * share
    return weights


def counts(guilds: Iterable[GuildLoad], role: str) -> Counter[PodId | None]:
    return Counter(getattr(load, role) for load in guilds)


names = st.sampled_from([f"pod-{number:02}" for number in range(8)])
weights = st.one_of(
    st.just(1.0),
    st.floats(0.1, 10.0),
    st.sampled_from([0.5, 1.0, 1.0, 2.0, 5.0, 40.0]),
)
doubts = st.one_of(st.just(0.0), st.floats(0.0, 10.0))
holders = st.one_of(st.none(), names, st.just("gone"))


@st.composite
def guild_lists(draw: st.DrawFn, most: int = 60) -> list[GuildLoad]:
    rows = draw(st.lists(st.tuples(holders, holders, weights, doubts), max_size=most))
    return [
        guild(number, owner, follower if follower != owner else None, weight, doubt)
        for number, (owner, follower, weight, doubt) in enumerate(rows, start=1)
    ]


def pod_lists(
    *,
    zones: Sequence[str] = ("",),
    capacities: st.SearchStrategy[int] | None = None,
    states: bool = False,
) -> st.SearchStrategy[list[PodRoom]]:
    """Some of the named pods; the guilds' other holders are gone."""
    rooms = st.builds(
        pod,
        names,
        zone=st.sampled_from(zones),
        capacity=st.just(PLENTY) if capacities is None else capacities,
        draining=st.sampled_from([False, False, False, True]) if states else st.just(False),
        away=st.sampled_from([False] * 7 + [True]) if states else st.just(False),
    )
    return st.lists(rooms, min_size=1, max_size=8, unique_by=lambda room: room.pod)


pin_maps = st.dictionaries(st.integers(1, 60).map(lambda n: GuildId(str(n))), names.map(PodId))
any_pods = pod_lists(
    zones=("", "a", "b"),
    capacities=st.one_of(st.just(PLENTY), st.integers(0, 30)),
    states=True,
)
