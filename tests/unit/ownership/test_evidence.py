"""Proofs of 0006, steps 5, 7 and 8: what shows that an earlier owner let go, or is silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ownership.evidence import Evidence
from contracts.ids import Epoch, GuildId, Incarnation, PodId, Sequence
from contracts.records import EarlierOwner, PodLease, ProcessEnd, Released, Silent

GUILD = GuildId("42")
POD = PodId("gateway-0")
FIRST = Incarnation("20251124T150000Z-7")
LATER = Incarnation("20251124T150000Z-9")
EARLIER = EarlierOwner(pod=POD, incarnation=FIRST, epoch=Epoch(3))


def lease(
    incarnation: Incarnation | None = FIRST, state: str = "serving", **more: object
) -> PodLease:
    return PodLease(
        pod=POD,
        incarnation=incarnation,
        data="d",
        state=state,  # type: ignore[arg-type]
        capacity=10,
        version="1",
        engine_version=1,
        started_ms=0,
        **more,  # type: ignore[arg-type]
    )


def released(epoch: int) -> Released:
    return Released(
        guild=GUILD, epoch=Epoch(epoch), sequence=Sequence(5), pod=POD, incarnation=FIRST
    )


def silent(epoch: int) -> Silent:
    return Silent(guild=GUILD, epoch=Epoch(epoch), pod=POD, incarnation=FIRST)


def end(process: str) -> ProcessEnd:
    return ProcessEnd(pod=POD, process=process, exit_code=-9, ended_ms=0)


def test_a_living_owner_has_not_let_go_and_is_not_silent() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(), 8, 0.0)
    assert evidence.let_go(GUILD, EARLIER) == ""
    assert evidence.silent(GUILD, EARLIER, 1e9) == ""


def test_a_release_of_the_epoch_or_a_later_one_lets_go_but_is_no_silence() -> None:
    for epoch, proof in ((2, ""), (3, "released"), (4, "released")):
        evidence = Evidence()
        evidence.released_seen(released(epoch))
        assert evidence.let_go(GUILD, EARLIER) == proof
        assert evidence.silent(GUILD, EARLIER, 1e9) == ""


def test_a_silence_of_the_epoch_or_a_later_one_is_one() -> None:
    for epoch, proof in ((2, ""), (3, "silent"), (4, "silent")):
        evidence = Evidence()
        evidence.silent_seen(silent(epoch))
        assert evidence.silent(GUILD, EARLIER, 0.0) == proof


def test_a_fence_lets_go_at_once_and_is_silence_after_ttl_and_margin_of_our_own_clock() -> None:
    evidence = Evidence(ttl_s=5.0, margin_s=0.5)
    evidence.pod_seen(lease(state="fenced"), 9, 100.0)
    assert evidence.let_go(GUILD, EARLIER) == "fenced"
    assert evidence.silent(GUILD, EARLIER, 105.4) == ""
    assert evidence.silent_from_s(EARLIER) == 105.5
    assert evidence.silent(GUILD, EARLIER, 105.5) == "fenced for longer than its lease"


def test_a_fence_that_is_seen_again_is_not_waited_for_anew() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(state="fenced"), 9, 100.0)
    evidence.pod_seen(lease(state="fenced"), 9, 104.0)
    assert evidence.silent_from_s(EARLIER) == 105.5


def test_a_lease_that_states_a_longer_ttl_is_waited_for_longer() -> None:
    evidence = Evidence(ttl_s=5.0, margin_s=0.5)
    evidence.pod_seen(lease(state="fenced", ttl_s=20.0), 9, 100.0)
    assert evidence.silent_from_s(EARLIER) == 120.5


def test_a_fence_of_another_start_proves_nothing_of_a_later_one() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(state="fenced"), 8, 0.0)
    later = EarlierOwner(pod=POD, incarnation=LATER, epoch=Epoch(4))
    assert evidence.let_go(GUILD, later) == ""
    assert evidence.silent(GUILD, later, 1e9) == ""


def test_an_attested_end_of_the_process_is_silence_and_of_another_process_is_nothing() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(process="mine"), 8, 0.0)
    evidence.end_seen(end("other"))
    assert evidence.silent(GUILD, EARLIER, 0.0) == ""
    evidence.end_seen(end("mine"))
    assert evidence.let_go(GUILD, EARLIER) == "its process has ended"
    assert evidence.silent(GUILD, EARLIER, 0.0) == "its process has ended"


def test_an_end_counts_for_a_judge_that_never_saw_the_lease() -> None:
    evidence = Evidence()
    evidence.end_seen(end("mine"))
    named = EarlierOwner(pod=POD, incarnation=FIRST, epoch=Epoch(3), process="mine")
    assert evidence.silent(GUILD, named, 0.0) == "its process has ended"


def test_an_end_without_a_named_process_proves_nothing() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(), 8, 0.0)
    evidence.end_seen(end(""))
    assert evidence.silent(GUILD, EARLIER, 0.0) == ""


def test_a_later_start_of_the_pod_proves_the_silence_of_the_one_before() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(LATER), 9, 0.0)
    assert evidence.silent(GUILD, EARLIER, 0.0) == "the pod has started again"
    later = EarlierOwner(pod=POD, incarnation=LATER, epoch=Epoch(4))
    assert evidence.silent(GUILD, later, 0.0) == ""


def test_a_lease_that_has_not_named_its_start_counts_by_its_revision() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(), 7, 0.0)
    evidence.pod_seen(lease(None), 7, 0.0)
    assert evidence.let_go(GUILD, EARLIER) == ""
    evidence.pod_seen(lease(None), 9, 0.0)
    assert evidence.let_go(GUILD, EARLIER) == "the pod has started again"


def test_an_older_start_that_is_seen_late_is_not_taken_for_a_newer_one() -> None:
    evidence = Evidence()
    evidence.pod_seen(lease(FIRST), 8, 0.0)
    later = EarlierOwner(pod=POD, incarnation=LATER, epoch=Epoch(4))
    assert evidence.let_go(GUILD, later) == ""


@pytest.mark.parametrize("kind", ["let_go", "silent"])
@given(st.permutations(range(6)), st.integers(0, 5))
def test_proofs_do_not_depend_on_the_order_in_which_things_are_seen(
    kind: str, order: list[int], repeated: int
) -> None:
    def feed(evidence: Evidence, which: int) -> None:
        (
            lambda: evidence.pod_seen(lease(process="mine"), 8, 0.0),
            lambda: evidence.pod_seen(lease(state="fenced", process="mine"), 9, 0.0),
            lambda: evidence.released_seen(released(3)),
            lambda: evidence.silent_seen(silent(2)),
            lambda: evidence.end_seen(end("other")),
            lambda: evidence.released_seen(released(1)),
        )[which]()

    evidence = Evidence()
    for which in [*order, repeated]:
        feed(evidence, which)
    if kind == "let_go":
        assert evidence.let_go(GUILD, EARLIER) == "released"
    else:
        assert evidence.silent(GUILD, EARLIER, 5.4) == ""
        assert evidence.silent(GUILD, EARLIER, 5.5) == "fenced for longer than its lease"
