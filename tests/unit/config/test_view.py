"""The mirror of pods, registry and assignments."""

import pytest

from components.bus.buckets import Entry
from components.config.view import View
from contracts.ids import GuildId, PodId
from contracts.message import Message, encode
from contracts.records import PodLease, RegisteredGuild
from tests.unit.config.worlds import held, pod, registered

A, B = PodId("a"), PodId("b")
ONE = GuildId("1")


class Clock:
    """A steady clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Listener:
    """Counts what a view tells."""

    def __init__(self, view: View) -> None:
        self.changes = 0
        self.guilds: list[RegisteredGuild] = []
        self.pods: list[PodLease] = []
        view.listen(
            on_change=self._changed, on_registered=self.guilds.append, on_pod=self.pods.append
        )

    def _changed(self) -> None:
        self.changes += 1


def entry(key: str, value: Message | bytes | None, revision: int) -> Entry:
    """A key as a watch shows it."""
    data = encode(value) if isinstance(value, Message) else value
    return Entry(key=key, value=data, revision=revision, created_ms=0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> View:
    return View(clock)


def test_a_view_is_complete_when_every_bucket_was_read(view: View, clock: Clock) -> None:
    view.reset_pods({})
    view.reset_registry({})
    assert (view.complete, clock.now_s) == (False, 100.0)
    clock.now_s = 103.0
    view.reset_assignments({})
    assert (view.complete, view.synced_at_s) == (True, 103.0)
    view.connection_lost()
    assert (view.complete, view.synced_at_s) == (False, 103.0)


def test_a_pod_is_away_from_the_moment_its_key_is_gone(view: View, clock: Clock) -> None:
    view.pod_entry(entry("a", pod("a").lease, 1))
    assert not view.pods[A].fenced
    clock.now_s = 105.0
    view.pod_entry(entry("a", None, 2))
    clock.now_s = 107.0
    assert view.pods[A].away_since_s == 105.0
    assert view.pods[A].revision == 2
    assert view.pods[A].lease == pod("a").lease
    view.pod_entry(entry("a", pod("a", start=3).lease, 3))
    assert view.pods[A].away_since_s is None


def test_a_fence_does_not_begin_the_absence_anew(view: View, clock: Clock) -> None:
    view.pod_entry(entry("a", None, 2))
    clock.now_s = 170.0
    view.pod_entry(entry("a", pod("a", state="fenced").lease, 3))
    assert view.pods[A].away_since_s == 100.0
    assert view.pods[A].fenced


def test_who_is_not_there_after_a_reconnect_counts_as_away_from_then(
    view: View, clock: Clock
) -> None:
    view.reset_pods({"a": entry("a", pod("a").lease, 1), "b": entry("b", pod("b").lease, 2)})
    view.pod_entry(entry("b", None, 3))
    clock.now_s = 500.0
    view.reset_pods({})
    assert view.pods[A].away_since_s == 500.0
    assert view.pods[B].away_since_s == 500.0


def test_a_pod_whose_lease_is_not_renewed_is_away_until_it_is(view: View, clock: Clock) -> None:
    listener = Listener(view)
    view.pod_entry(entry("a", pod("a").lease, 5))
    clock.now_s = 107.0
    view.not_renewed(A, 4)
    assert view.pods[A].away_since_s is None, "that was an earlier revision"
    view.not_renewed(A, 5)
    clock.now_s = 109.0
    view.not_renewed(A, 5)
    assert (view.pods[A].away_since_s, view.pods[A].revision) == (107.0, 5)
    assert view.pods[A].lease == pod("a").lease
    assert listener.changes == 2
    view.pod_entry(entry("a", pod("a").lease, 6))
    assert view.pods[A].away_since_s is None


def test_older_news_does_not_undo_newer(view: View) -> None:
    view.assigned(held("1", "a", epoch=3).assignment, 9)
    view.assignment_entry(entry("1", held("1", "b", epoch=2).assignment, 8))
    assert view.assignments[ONE].assignment.pod == "a"
    view.assigned(held("1", "b", epoch=2).assignment, 8)
    assert view.assignments[ONE].revision == 9
    view.pod_entry(entry("a", pod("a").lease, 5))
    view.pod_entry(entry("a", None, 4))
    assert view.pods[A].away_since_s is None


def test_revisions_may_begin_anew_with_a_rebuilt_bucket(view: View) -> None:
    view.reset_assignments({"1": entry("1", held("1", "a", epoch=3).assignment, 900)})
    view.reset_assignments({"1": entry("1", held("1", "b").assignment, 1)})
    assert view.assignments[ONE].assignment.pod == "b"
    assert view.assignments[ONE].revision == 1


def test_a_deleted_assignment_is_remembered_as_one(view: View) -> None:
    view.assignment_entry(entry("1", held("1", "a").assignment, 4))
    view.assignment_entry(entry("1", None, 5))
    assert not view.assignments
    assert view.unassigned == {"1": 5}


def test_a_lease_that_cannot_be_read_is_nobodys_absence(view: View) -> None:
    view.pod_entry(entry("a", pod("a").lease, 1))
    view.pod_entry(entry("a", b"{", 2))
    assert view.pods[A].away_since_s is None
    assert view.pods[A].revision == 2


@pytest.mark.parametrize("value", [b"{", b"[]", encode(held("2", "a").assignment)])
def test_an_assignment_that_cannot_be_read_is_treated_as_deleted(view: View, value: bytes) -> None:
    view.assignment_entry(entry("1", value, 4))
    assert not view.assignments
    assert view.unassigned == {"1": 4}


def test_a_key_that_is_no_guild_is_left_out(view: View) -> None:
    view.registry_entry(entry("nonsense", registered("nonsense"), 1))
    assert not view.registry


def test_a_renewal_that_only_reports_load_is_no_news(view: View) -> None:
    listener = Listener(view)
    lease = pod("a").lease
    assert lease is not None
    view.pod_entry(entry("a", lease, 1))
    assert listener.changes == 1
    assert listener.pods == [lease]
    view.pod_entry(entry("a", lease, 2))
    assert listener.changes == 1
    assert view.pods[A].revision == 2
    view.pod_entry(entry("a", pod("a", state="draining").lease, 3))
    assert listener.changes == 2


def test_a_new_name_is_told_but_changes_no_placement(view: View) -> None:
    listener = Listener(view)
    view.registry_entry(entry("1", registered("1"), 1))
    assert listener.changes == 1
    renamed = RegisteredGuild(guild=registered("1").guild, name="other", shard=0, seen_ms=9)
    view.registry_entry(entry("1", renamed, 2))
    assert listener.changes == 1
    assert listener.guilds == [registered("1"), renamed]
