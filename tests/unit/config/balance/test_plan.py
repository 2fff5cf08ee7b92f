"""Plans for clusters that can be read: what moves, in which order, for which reason."""

import pytest

from components.config.balance import BalanceOptions, Move, applied, plan
from contracts.ids import GuildId, PodId
from tests.unit.config.balance.clusters import balanced, counts, guild, owned, pod, pods

ALONE = BalanceOptions(followers=0)


def pinned(**guilds: str) -> dict[GuildId, PodId]:
    return {GuildId(name.removeprefix("g")): PodId(target) for name, target in guilds.items()}


def moves_of(made: list[Move], kind: str) -> list[tuple[str, str | None, str | None]]:
    return [(move.guild, move.from_pod, move.to_pod) for move in made if move.kind == kind]


def test_an_empty_cluster_has_an_empty_plan() -> None:
    made = plan([], [])
    assert made.moves == []
    assert made.notes == []
    assert made.before.owned_max_over_mean == 0


def test_new_guilds_are_spread_and_each_gets_a_follower_on_another_pod() -> None:
    after = balanced(pods(3), 30)
    assert set(counts(after, "owner").values()) == {10}
    assert set(counts(after, "follower").values()) == {10}
    assert all(load.owner != load.follower for load in after)


def test_a_pod_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        plan([pod("a"), pod("a")], [])


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="follower_share"):
        BalanceOptions(follower_share=0)
    with pytest.raises(ValueError, match="budget"):
        BalanceOptions(budget=0)
    with pytest.raises(ValueError, match="least_gain"):
        BalanceOptions(tolerance=0.1, least_gain=0.09)


def test_a_pod_within_a_tenth_of_its_share_is_left_alone_and_the_plan_says_so() -> None:
    guilds = [guild(n, "a" if n <= 54 else "b") for n in range(1, 101)]
    made = plan([pod("a"), pod("b")], guilds, options=ALONE)
    assert made.moves == []
    assert [note.constraint for note in made.notes] == ["hysteresis"]
    assert made.before.owned_max_over_mean == pytest.approx(1.08)


def test_a_pod_outside_the_tolerance_is_brought_to_its_share() -> None:
    guilds = [guild(n, "a" if n <= 60 else "b") for n in range(1, 101)]
    made = plan([pod("a"), pod("b")], guilds, options=ALONE)
    assert len(made.moves) == 10
    assert made.after.owned_max_over_mean == pytest.approx(1.0)
    assert made.own_weight_bound == pytest.approx(10)
    assert {move.cause for move in made.moves} == {"balance"}
    assert made.moves[0].reason == "a owned 120% of its share, b 80%"


def test_the_heaviest_fitting_guild_moves_first() -> None:
    guilds = [guild(1, "a", weight=6), guild(2, "a", weight=3), guild(3, "a", weight=3)]
    made = plan([pod("a"), pod("b")], guilds, options=ALONE)
    assert moves_of(made.moves, "own") == [("1", "a", "b")]


def test_balance_rather_promotes_a_follower_than_copies_a_guild() -> None:
    guilds = [guild(n, "a", "c") for n in range(1, 9)]
    guilds += [guild(n, "b", "c") for n in range(9, 15)]
    guilds += [guild(20, "a", "b"), guild(21, "a", "b"), guild(22, "c", "a"), guild(23, "c", "b")]
    made = plan([pod("a"), pod("b"), pod("c")], guilds)
    own = [move for move in made.moves if move.kind == "own"]
    assert own
    assert all(move.promotes and move.to_pod == "c" for move in own)


def test_a_promotion_makes_the_old_owner_the_follower() -> None:
    [load] = applied(
        [guild(1, "a", "b")],
        [
            Move(
                guild=GuildId("1"),
                kind="own",
                from_pod=PodId("a"),
                to_pod=PodId("b"),
                cause="balance",
                promotes=True,
                reason="",
                weight=1,
            )
        ],
        [pod("a"), pod("b")],
    )
    assert (load.owner, load.follower) == ("b", "a")


def test_guilds_of_a_pod_that_is_gone_go_to_their_followers() -> None:
    rooms = pods(4)
    guilds = balanced(rooms, 40)
    made = plan(rooms[1:], guilds)
    own = [move for move in made.moves if move.kind == "own" and move.cause == "gone"]
    assert len(own) == 10
    assert all(move.promotes for move in own)
    after = applied(guilds, made.moves, rooms[1:])
    assert "pod-00" not in counts(after, "owner") + counts(after, "follower")
    assert None not in counts(after, "follower")


def test_what_has_no_owner_comes_before_what_has_no_follower_before_balance() -> None:
    guilds = [guild(n, "a", "b") for n in range(1, 30)]
    guilds += [guild(30, "gone", "b"), guild(31, "a", "gone"), guild(32)]
    made = plan([pod("a"), pod("b"), pod("c")], guilds)
    causes = [move.cause for move in made.moves]
    assert causes[0] == "gone"
    assert made.moves[0].kind == "own"
    need = {"30": 0, "31": 0, "32": 1}  # the rest does not need to move at all
    assert [need.get(move.guild, 2) for move in made.moves] == sorted(
        need.get(move.guild, 2) for move in made.moves
    )
    assert "balance" in causes


def test_a_drained_pod_ends_with_nothing_and_its_guilds_rather_go_to_their_followers() -> None:
    rooms = pods(4)
    guilds = balanced(rooms, 400)
    leaving = [pod("pod-00", draining=True), *rooms[1:]]
    made = plan(leaving, guilds)
    after = applied(guilds, made.moves, leaving)
    assert "pod-00" not in counts(after, "owner") + counts(after, "follower")
    drained = [move for move in made.moves if move.cause == "drained" and move.kind == "own"]
    assert len(drained) == 100
    assert sum(move.promotes for move in drained) >= 90


def test_a_pin_outranks_balance_and_the_plan_says_so() -> None:
    guilds = [guild(n, "a") for n in range(1, 11)] + [guild(n, "b") for n in range(11, 13)]
    pins = {GuildId(str(n)): PodId("a") for n in range(1, 11)}
    made = plan([pod("a"), pod("b")], guilds, pins, ALONE)
    assert made.moves == []
    [about_a] = [note for note in made.notes if note.pod == "a"]
    assert about_a.constraint == "pin"
    assert "pinned to it" in about_a.words


@pytest.mark.parametrize("how", ["gone", "away", "draining"])
def test_a_guild_whose_pin_takes_no_guilds_does_not_move_for_balance(how: str) -> None:
    guilds = [guild(n, "b", weight=4) for n in range(1, 4)] + [guild(9, "b"), guild(10, "a")]
    rooms = [pod("a"), pod("b")]
    if how != "gone":
        rooms.append(pod("c", away=how == "away", draining=how == "draining"))
    pins = pinned(g1="c", g2="c", g3="c")
    made = plan(rooms, guilds, pins, ALONE)
    assert moves_of(made.moves, "own") == [("9", "b", "a")]
    assert [note.constraint for note in made.notes if note.pod == "b"] == ["pin"]
    assert plan(rooms, applied(guilds, made.moves, rooms), pins, ALONE).moves == []


def test_a_guild_whose_pin_takes_no_guilds_leaves_a_pod_that_is_to_be_left() -> None:
    rooms = [pod("a", draining=True), pod("b")]
    guilds = [guild(1, "a"), guild(2, "b")]
    made = plan(rooms, guilds, pinned(g1="c"), ALONE)
    assert moves_of(made.moves, "own") == [("1", "a", "b")]


def test_a_pinned_guild_goes_to_its_pod_even_if_that_must_make_room() -> None:
    guilds = [guild(1, "a", weight=2), guild(2, "b", weight=3), guild(3, "b", weight=2)]
    rooms = [pod("a", capacity=2), pod("b", capacity=2)]
    made = plan(rooms, guilds, pinned(g1="b"), ALONE)
    after = {load.guild: load.owner for load in applied(guilds, made.moves, rooms)}
    assert after == {"1": "b", "2": "b", "3": "a"}
    assert [move.guild for move in made.moves] == ["3", "1"]  # room is made before it is needed


def test_a_pod_above_its_capacity_is_emptied_first_and_does_not_take_the_pinned_guild() -> None:
    rooms = [pod("a"), pod("b", capacity=0)]
    guilds = [guild(1), guild(2, "b")]
    made = plan(rooms, guilds, pinned(g1="b"), ALONE)
    after = applied(guilds, made.moves, rooms)
    assert [load.owner for load in after] == ["a", "a"]
    assert plan(rooms, after, pinned(g1="b"), ALONE).moves == []


def test_a_pin_to_a_pod_full_of_pinned_guilds_is_refused_with_words() -> None:
    guilds = [guild(1, "a"), guild(2, "b")]
    made = plan([pod("a"), pod("b", capacity=1)], guilds, pinned(g1="b", g2="b"), ALONE)
    assert made.moves == []
    [note] = [note for note in made.notes if "guild 1 cannot go to b" in note.words]
    assert note.constraint == "capacity"


def test_a_guild_pinned_to_a_draining_pod_keeps_it_from_being_left() -> None:
    guilds = [guild(1, "a", "b"), guild(2, "a", "b")]
    rooms = [pod("a", draining=True), pod("b"), pod("c")]
    made = plan(rooms, guilds, pinned(g1="a"))
    after = {load.guild: load.owner for load in applied(guilds, made.moves, rooms)}
    assert after == {"1": "a", "2": "b"} or after == {"1": "a", "2": "c"}
    [note] = [note for note in made.notes if note.pod == "a"]
    assert note.constraint == "pin"
    assert "unpin to drain" in note.words


def test_pins_are_named_also_where_the_rest_may_be_chance() -> None:
    guilds = [guild(n, "a", weight=10, doubt=100) for n in range(1, 19)]
    guilds += [guild(n, "b", weight=17, doubt=100) for n in range(20, 24)]
    guilds += [guild(n, "c", weight=13, doubt=100) for n in range(24, 28)]
    pins = {GuildId(str(n)): PodId("a") for n in range(1, 19)}
    made = plan([pod("a"), pod("b"), pod("c")], guilds, pins, ALONE)
    assert made.moves == []
    assert [(note.pod, note.constraint) for note in made.notes] == [
        ("a", "pin"),
        ("b", "pin"),
        ("c", "pin"),
        (None, "hysteresis"),
    ]


def test_a_capacity_is_named_also_where_the_rest_may_be_chance() -> None:
    guilds = [guild(n, "a", weight=10, doubt=100) for n in range(1, 15)]
    guilds += [guild(n, "b", weight=10, doubt=100) for n in range(20, 30)]
    guilds += [guild(n, "c", weight=10, doubt=100) for n in range(40, 44)]
    made = plan([pod("a"), pod("b"), pod("c", capacity=4)], guilds, options=ALONE)
    assert made.moves == []
    assert {(note.pod, note.constraint) for note in made.notes} == {
        ("a", "capacity"),
        ("c", "capacity"),
        (None, "hysteresis"),
    }


def test_zones_are_named_also_where_the_rest_may_be_chance() -> None:
    rooms = [pod("a", zone="x"), pod("b", zone="x"), pod("c", zone="y")]
    guilds = [guild(n, "a", "c", doubt=0.3) for n in range(1, 13)]
    guilds += [guild(n, "b", "c", doubt=0.3) for n in range(20, 32)]
    guilds += [guild(n, "c", "a" if n < 45 else "b", doubt=0.3) for n in range(40, 52)]
    made = plan(rooms, guilds)
    assert made.moves == []
    assert ("c", "zone") in {(note.pod, note.constraint) for note in made.notes}


def test_a_pin_to_a_pod_that_is_not_there_is_named() -> None:
    made = plan([pod("a")], [guild(1, "a")], pinned(g1="z"), ALONE)
    assert [(note.constraint, note.words) for note in made.notes] == [
        ("pin", "1 guild (1) pinned to z, which takes no guilds now, and cannot go there")
    ]


def test_a_guild_pinned_to_a_pod_that_ends_leaves_it_with_the_others() -> None:
    rooms = [pod("a", draining=True, ends=True), pod("b")]
    made = plan(rooms, [guild(1, "a"), guild(2, "b")], pinned(g1="a"), ALONE)
    assert moves_of(made.moves, "own") == [("1", "a", "b")]
    assert made.moves[0].cause == "drained"
    assert [note for note in made.notes if "unpin" in note.words] == []


def test_a_full_pod_explains_why_others_have_more() -> None:
    guilds = [guild(n, "a") for n in range(1, 21)]
    rooms = [pod("a"), pod("b", capacity=4)]
    made = plan(rooms, guilds, options=ALONE)
    assert owned(applied(guilds, made.moves, rooms), rooms) == {"a": 16, "b": 4}
    assert {(note.pod, note.constraint) for note in made.notes} == {
        ("a", "capacity"),
        ("b", "capacity"),
    }


def test_a_pod_over_its_capacity_gives_away_its_lightest_guilds() -> None:
    guilds = [guild(1, "a", weight=9), guild(2, "a", weight=1), guild(3, "b", weight=10)]
    made = plan([pod("a", capacity=1), pod("b")], guilds, options=ALONE)
    assert moves_of(made.moves, "own") == [("2", "a", "b")]
    assert made.moves[0].cause == "capacity"


def test_one_guild_that_outweighs_all_others_is_named_as_the_reason() -> None:
    guilds = [guild(1, "a", weight=100)] + [guild(n, "b") for n in range(2, 12)]
    made = plan([pod("a"), pod("b")], guilds, options=ALONE)
    assert made.moves == []
    assert [note.constraint for note in made.notes if note.pod == "a"] == ["guild"]


def test_owner_and_follower_are_put_in_different_zones() -> None:
    rooms = [pod("a", zone="x"), pod("b", zone="x"), pod("c", zone="y"), pod("d", zone="y")]
    guilds = [guild(n, "a", "b") for n in range(1, 13)]
    made = plan(rooms, guilds)
    after = applied(guilds, made.moves, rooms)
    zone = {room.pod: room.zone for room in rooms}
    assert all(zone[load.owner] != zone[load.follower] for load in after)  # type: ignore[index]
    assert "zone" in {move.cause for move in made.moves}


def test_no_follower_is_put_into_the_zone_of_its_owner_and_the_plan_says_so() -> None:
    rooms = [pod("a", zone="x"), pod("b", zone="x"), pod("c", zone="y", capacity=2)]
    guilds = [guild(n, "a") for n in range(1, 5)]
    made = plan(rooms, guilds)
    after = applied(guilds, made.moves, rooms)
    for load in after:
        assert load.follower is None or {load.owner, load.follower} & {"c"}
    assert counts(after, "follower")[None] > 0
    assert any(
        note.constraint == "zone" and "without follower" in note.words for note in made.notes
    )


def test_with_one_zone_alone_followers_share_it_and_the_plan_says_so() -> None:
    made = plan([pod("a", zone="x"), pod("b", zone="x")], [guild(1, "a"), guild(2, "b")])
    assert moves_of(made.moves, "follow") == [("1", None, "b"), ("2", None, "a")]
    assert [note.constraint for note in made.notes] == ["zone"]


def test_a_single_pod_works_without_followers_and_the_plan_says_so() -> None:
    made = plan([pod("a")], [guild(1, "a"), guild(2)])
    assert moves_of(made.moves, "own") == [("2", None, "a")]
    assert moves_of(made.moves, "follow") == []
    assert [note.constraint for note in made.notes] == ["pods"]


def test_followers_that_are_switched_off_are_dropped() -> None:
    made = plan([pod("a"), pod("b")], [guild(1, "a", "b"), guild(2, "b", "a")], options=ALONE)
    assert moves_of(made.moves, "follow") == [("1", "b", None), ("2", "a", None)]


def test_a_pod_that_is_away_keeps_what_it_has_and_gets_nothing() -> None:
    rooms = [pod("a", away=True), pod("b"), pod("c")]
    guilds = [guild(n, "a", "b") for n in range(1, 9)] + [guild(9, "b", "a"), guild(10, "b", "c")]
    made = plan(rooms, guilds)
    assert all(move.from_pod != "a" and move.to_pod != "a" for move in made.moves)


def test_a_weight_that_is_no_number_counts_as_one() -> None:
    guilds = [guild(n, "a", weight=w) for n, w in enumerate([float("nan"), -3, float("inf"), 0])]
    made = plan([pod("a"), pod("b")], guilds, options=ALONE)
    assert len(made.moves) == 2
    assert made.after.owned_max_over_mean == 1


def test_a_budget_cuts_the_plan_and_counts_the_rest() -> None:
    guilds = [guild(n, "a") for n in range(1, 101)]
    made = plan([pod("a"), pod("b")], guilds, options=BalanceOptions(followers=0, budget=20))
    assert (len(made.moves), made.left_over) == (20, 30)
    assert made.after.owned_max_over_mean == pytest.approx(1.6)
    assert [note.constraint for note in made.notes if "30 more moves" in note.words] == ["budget"]
