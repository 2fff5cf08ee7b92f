"""Where new guilds go, and what keeps them from it."""

import msgspec
import pytest

from components.config.leader import AT_A_TIME
from contracts import storage
from contracts.ids import GuildId, PodId
from tests.unit.config.town import NOW_S, Town, holder


@pytest.fixture
def town() -> Town:
    town = Town()
    town.pod("a")
    town.pod("b")
    return town


def test_a_new_guild_gets_owner_and_follower_at_once(town: Town) -> None:
    town.register("1")
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    assert (town.a("1").first_sequence, town.a("1").before, town.a("1").sources) == (10, [], [])


def test_many_new_guilds_are_spread_evenly(town: Town) -> None:
    town.pod("c")
    town.register(*map(str, range(1, 31)))
    town.settle()
    assert {pod: town.view.index.owned[pod] for pod in ("a", "b", "c")} == {  # type: ignore[index]
        "a": 10,
        "b": 10,
        "c": 10,
    }


def test_a_guild_whose_log_was_not_looked_at_is_looked_up_first(town: Town) -> None:
    town.register("1")
    plan = town.plan()
    assert (plan.look_up, plan.assign) == (["1"], [])


def test_a_guild_without_any_input_waits_and_is_looked_up_again_soon(town: Town) -> None:
    town.register("1", log=False)
    town.settle()
    assert town.reason("1") == "nothing is on its log yet"
    plan = town.plan()
    assert plan.wake_at_s == town.now_s + 0.5
    town.logs["1"] = 12
    town.later(0.6)
    town.settle()
    assert town.a("1").first_sequence == 12


def test_a_log_that_stays_empty_is_looked_at_less_and_less_often(town: Town) -> None:
    town.register("1", log=False)
    town.settle()
    pauses = []
    for _ in range(6):
        wake_at_s = town.leader._wake[0][0]
        pauses.append(wake_at_s - town.now_s)
        town.now_s = wake_at_s
        town.settle()
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_guild_that_the_history_knows_is_never_placed_from_nothing(town: Town) -> None:
    town.history = {GuildId("1")}
    town.register("1")
    town.settle()
    assert "history knows this guild but the bus does not" in town.reason("1")


def test_nothing_new_is_placed_while_the_history_may_still_be_read(town: Town) -> None:
    town.history = None
    town.now_s = NOW_S + 3
    town.register("1")
    town.settle()
    assert "waiting for PostgreSQL" in town.reason("1")
    town.now_s = NOW_S + 5
    town.settle()
    assert town.where("1")[0] == "a"


@pytest.mark.parametrize("state", ["starting", "draining", "fenced"])
def test_only_a_serving_pod_takes_new_guilds(state: str) -> None:
    town = Town()
    town.pod("a", state=state)
    town.register("1")
    town.settle()
    assert town.reason("1") == "no pod is serving"
    town.pod("a", 2)
    town.settle()
    assert town.where("1")[0] == "a"


def test_a_guild_waits_when_every_pod_is_at_capacity() -> None:
    town = Town()
    town.pod("a", capacity=1)
    town.owned("9", "a")
    town.register("1")
    town.settle()
    assert "all at their capacity" in town.reason("1")
    town.pod("a", capacity=2)
    town.settle()
    assert town.where("1")[0] == "a"


def test_a_pinned_guild_is_placed_where_it_is_pinned(town: Town) -> None:
    town.pin("1", "b")
    town.register("1")
    town.settle()
    assert town.where("1") == ("b", 1, "placed", "a")


def test_a_guild_that_the_bot_left_is_not_placed(town: Town) -> None:
    from contracts.records import RegisteredGuild

    gone = RegisteredGuild(guild=GuildId("1"), name="x", shard=0, present=False, seen_ms=1)
    town.put("registry", "1", gone)
    town.settle()
    assert "1" not in town.view.assignments
    assert not town.leader.waiting


def test_more_guilds_than_discord_allows_a_shard_are_refused_with_words() -> None:
    town = Town(guilds_per_shard=3)
    town.pod("a")
    town.register("1", "2", "3", "4", shard=5)
    town.register("5", shard=6)
    town.settle()
    assert sorted(town.view.assignments) == ["1", "2", "3", "5"]
    assert town.reason("4").startswith("shard 5 has 3 guilds, Discord's limit: raise the number")


def test_news_of_one_pod_concerns_its_own_guilds_whatever_their_number() -> None:
    """The cost of a plan is that of the guilds it decides about (`modbot bench scale`)."""
    town = Town()
    for name in ("a", "b", "c", "d"):
        town.pod(name, capacity=100_000)
    for number in range(1, 2_001):
        guild = str(number)
        town.owned(guild, "a" if number <= 10 else "b", follower=holder("c"))
    town.settle()
    town.pod("d", 2)
    assert len(town.view.dirty) == 0
    assert not town.plan().acts
    town.pod("a", state="draining")
    assert len(town.view.dirty) == 10
    assert len(town.plan().assign) == 10


def test_a_new_leader_looks_at_every_guild_once() -> None:
    town = Town()
    for name in ("a", "b"):
        town.pod(name, capacity=100_000)
    for number in range(1, 3_001):
        town.owned(str(number), "a", follower=holder("b"))
    town.settle()
    town.leader.begin(town.now_s)
    looked_at = [len(town.view.dirty)]
    while town.plan().more:
        looked_at.append(len(town.view.dirty))
    assert looked_at[0] == 3_000
    assert looked_at == [3_000 - AT_A_TIME * turn for turn in range(len(looked_at))]


def test_guilds_without_an_owner_are_decided_about_before_thousands_that_have_one() -> None:
    town = Town()
    for name in ("a", "b", "c"):
        town.pod(name, capacity=100_000)
    for number in range(1, 5_001):
        town.owned(str(number), "b" if number % 500 == 0 else "a", follower=holder("c"))
    town.settle()
    lease = town.view.pods[PodId("b")].lease
    assert lease is not None
    town.put(storage.PODS, "b", msgspec.structs.replace(lease, state="fenced"))
    town.leader.look_at_all()
    first = town.plan()
    assert {decision.assignment.guild for decision in first.assign} == {
        str(number) for number in range(500, 5_001, 500)
    }
    assert first.more


@pytest.mark.parametrize("leaves", ["1", "2"])
def test_a_guild_that_waits_for_a_full_shard_is_placed_once_it_or_another_has_left_it(
    leaves: str,
) -> None:
    town = Town(guilds_per_shard=1)
    town.pod("a")
    town.register("1")
    town.settle()
    town.register("2")
    town.settle()
    assert "reshard" in town.leader.waiting[GuildId("2")].reason
    town.register(leaves, shard=1)
    town.settle()
    assert town.where("2") == ("a", 1, "placed", None)
