"""How a limit is divided by demand."""

from hypothesis import given
from hypothesis import strategies as st

from components.sharing.division import Leases, by_demand, divide, enter
from contracts.ids import Incarnation, PodId
from contracts.records import PodLease, RestShares

A, B, C = "a", "b", "c"


def lease(pod: str, *, wanted: float = 0.0, kept: int = 0, start: str = "1") -> PodLease:
    return PodLease(
        pod=PodId(pod),
        incarnation=Incarnation(start),
        data=pod,
        state="serving",
        capacity=1,
        version="",
        engine_version=1,
        started_ms=0,
        rest_wanted_per_s=wanted,
        rest_share_revision=kept,
    )


def divided(shares: dict[str, float], at_most: dict[str, float] | None = None) -> RestShares:
    return RestShares(
        per_s=50,
        shares=shares,
        incarnations=dict.fromkeys(shares, Incarnation("1")),
        at_most=at_most or shares,
    )


def test_a_hot_pod_gets_all_but_what_each_other_keeps() -> None:
    assert by_demand(50, {A: 200, B: 0, C: 0}) == {A: 48, B: 1, C: 1}


def test_what_nobody_wants_is_spread_evenly() -> None:
    assert by_demand(50, {A: 20, B: 0}) == {A: 35, B: 15}
    assert by_demand(50, {A: 0, B: 0}) == {A: 25, B: 25}


def test_two_hot_pods_share_evenly_what_a_third_leaves() -> None:
    assert by_demand(50, {A: 50, B: 50, C: 10}) == {A: 20, B: 20, C: 10}


def test_more_pods_than_the_limit_leave_shares_to_those_that_want_one() -> None:
    pods = {f"pod-{number:02}": 0 for number in range(60)} | {A: 3}
    shares = by_demand(50, pods)
    assert sum(shares.values()) == 50
    assert shares[A] >= 3


@given(
    limit=st.integers(1, 80),
    wanted=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100), min_size=1),
)
def test_the_whole_limit_is_divided_and_nobody_is_left_out(
    limit: int, wanted: dict[str, int]
) -> None:
    shares = by_demand(limit, wanted)
    assert sum(shares.values()) == limit
    if len(wanted) <= limit:
        assert min(shares.values()) >= 1
    for pod, share in shares.items():
        # Who lacks something has no less than anybody who has more than it lacks.
        if share < wanted[pod]:
            assert all(other <= share + 1 for name, other in shares.items() if name != pod)


def test_a_new_pod_takes_half_of_what_is_free() -> None:
    record = enter(None, A, Incarnation("1"), 50)
    assert record is not None
    assert record.shares == {A: 25}
    record = enter(record, B, Incarnation("1"), 50)
    assert record is not None
    assert record.shares == {A: 25, B: 13}


def test_a_new_pod_takes_nothing_that_others_may_still_be_using() -> None:
    record = enter(divided({A: 1}, at_most={A: 50}), B, Incarnation("1"), 50)
    assert record is not None
    assert record.shares == {A: 1, B: 0}


def test_a_pod_that_is_started_again_takes_its_share_over() -> None:
    record = enter(divided({A: 1, B: 40}, at_most={A: 1, B: 49}), B, Incarnation("2"), 50)
    assert record is not None
    assert record.shares == {A: 1, B: 40}
    assert record.incarnations[B] == "2"
    assert record.at_most[B] == 40
    assert enter(record, B, Incarnation("2"), 50) is None


def test_a_share_is_raised_only_when_the_lowered_pod_keeps_to_less() -> None:
    record = divided({A: 25, B: 25})
    hungry = lease(A, wanted=100, kept=10)
    lowered = divide(record, 10, {A: hungry, B: lease(B, kept=10)}, (), 50)
    assert lowered is not None
    assert lowered.shares == {A: 25, B: 1}
    assert lowered.at_most == {A: 25, B: 25}
    waiting: Leases = {A: lease(A, wanted=100, kept=11), B: lease(B, kept=10)}
    assert divide(lowered, 11, waiting, (), 50) is None
    raised = divide(lowered, 11, {A: hungry, B: lease(B, kept=11)}, (), 50)
    assert raised is not None
    assert raised.shares == {A: 49, B: 1}
    assert raised.at_most == {A: 49, B: 1}


def test_the_word_of_an_earlier_start_of_a_pod_frees_nothing() -> None:
    record = divided({A: 1, B: 1}, at_most={A: 1, B: 49})
    leases: Leases = {A: lease(A, wanted=100, kept=11), B: lease(B, kept=11, start="0")}
    assert divide(record, 11, leases, (), 50) is None


def test_the_share_of_a_pod_that_has_ended_returns() -> None:
    record = divided({A: 10, B: 40})
    made = divide(record, 10, {A: lease(A, wanted=100, kept=10)}, {B}, 50)
    assert made is not None
    assert made.shares == {A: 50}


def test_a_small_difference_is_not_worth_a_write() -> None:
    record = divided({A: 30, B: 20})
    leases: Leases = {A: lease(A, wanted=20, kept=10), B: lease(B, wanted=10, kept=10)}
    assert divide(record, 10, leases, (), 50) is None


def test_shares_that_nobody_uses_any_more_are_spread_again() -> None:
    record = divided({A: 49, B: 1})
    made = divide(record, 10, {A: lease(A, kept=10), B: lease(B, kept=10)}, (), 50)
    assert made is not None
    assert made.shares == {A: 25, B: 1}  # B's part follows when A keeps to less


def test_what_was_freed_is_divided_further() -> None:
    """However small the part is that is not divided yet."""
    record = divided({A: 25, B: 23})
    made = divide(record, 10, {A: lease(A, kept=10), B: lease(B, kept=10)}, (), 50)
    assert made is not None
    assert made.shares == {A: 25, B: 25}
