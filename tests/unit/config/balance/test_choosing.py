"""Pods for single guilds, one after the other."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given, settings

from components.config.balance import Chooser, GuildLoad, PodRoom, plan
from contracts.ids import GuildId, PodId
from tests.unit.config.balance.clusters import any_pods, counts, guild, guild_lists, pod, pods


def test_a_thousand_guilds_one_after_the_other_end_up_spread() -> None:
    rooms = pods(7)
    chooser = Chooser(rooms, [])
    placed = []
    for number in range(1, 1001):
        owner = chooser.choose_owner(GuildId(str(number)))
        assert owner is not None
        follower = chooser.choose_follower(owner=owner)
        placed.append(guild(number, owner, follower))
    for role in ("owner", "follower"):
        held = counts(placed, role)
        assert max(held.values()) - min(held.values()) <= 2
    assert plan(rooms, placed).moves == []
    shared = Counter((load.owner, load.follower) for load in placed)
    assert max(shared.values()) <= 1.5 * 1000 / (7 * 6)  # a lost pod's guilds go to all others


def test_a_new_guild_goes_where_least_is_owned() -> None:
    chooser = Chooser([pod("a"), pod("b")], [guild(1, "a", weight=3), guild(2, "b", weight=1)])
    assert chooser.choose_owner(GuildId("3"), 1.5) == "b"
    assert chooser.choose_owner(GuildId("4"), 1.0) == "b"
    assert chooser.choose_owner(GuildId("5"), 1.0) == "a"


def test_a_pinned_guild_goes_to_its_pod_and_an_orphan_to_its_follower() -> None:
    rooms = [pod("a"), pod("b"), pod("c", capacity=0)]
    pins = {GuildId("1"): PodId("b"), GuildId("2"): PodId("c")}
    chooser = Chooser(rooms, [guild(3, "b", weight=9)], pins)
    assert chooser.choose_owner(GuildId("1")) == "b"
    assert chooser.choose_owner(GuildId("2")) == "a"  # its pod has no room
    assert chooser.choose_owner(GuildId("4"), follower=PodId("b")) == "b"
    assert chooser.choose_owner(GuildId("5"), follower=PodId("gone")) == "a"


def test_a_follower_is_chosen_in_another_zone_or_not_at_all() -> None:
    rooms = [pod("a", zone="x"), pod("b", zone="x"), pod("c", zone="y", capacity=1)]
    chooser = Chooser(rooms, [])
    assert chooser.choose_follower(owner=PodId("a")) == "c"
    assert chooser.choose_follower(owner=PodId("a")) is None
    assert chooser.choose_follower(owner=PodId("c")) in ("a", "b")


def test_nobody_is_chosen_when_no_pod_takes_guilds() -> None:
    chooser = Chooser([pod("a", draining=True), pod("b", away=True)], [])
    assert chooser.choose_owner(GuildId("1")) is None
    assert chooser.choose_follower(owner=PodId("a")) is None


@given(any_pods, guild_lists(), st.integers(1, 40))
@settings(deadline=None)
def test_no_choice_exceeds_a_capacity_or_pairs_a_pod_with_itself(
    rooms: list[PodRoom], guilds: list[GuildLoad], more: int
) -> None:
    chooser = Chooser(rooms, guilds)
    open_pods = {room.pod: room for room in rooms if not room.draining and not room.away}
    owned, followed = counts(guilds, "owner"), counts(guilds, "follower")
    for number in range(1000, 1000 + more):
        owner = chooser.choose_owner(GuildId(str(number)))
        if owner is None:
            assert all(owned[name] >= room.capacity for name, room in open_pods.items())
            return
        owned[owner] += 1
        assert owned[owner] <= open_pods[owner].capacity
        follower = chooser.choose_follower(owner=owner)
        if follower is not None:
            followed[follower] += 1
            assert follower != owner
            assert followed[follower] <= open_pods[follower].capacity
