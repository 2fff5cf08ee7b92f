"""The mirror of pods, registry and assignments."""

import pytest

from components.bus.entries import Entry
from components.config.view import BUCKETS, View
from contracts import storage
from contracts.ids import Epoch, GuildId, PodId, Sequence
from contracts.message import Message, encode
from contracts.records import Assignment, PodLease, RegisteredGuild
from tests.unit.config.town import GENERATION, start

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


def lease(name: str, number: int = 1, *, state: str = "serving") -> PodLease:
    """A lease."""
    return PodLease(
        pod=PodId(name),
        incarnation=start(number),
        data=f"disk of {name}",
        state=state,  # type: ignore[arg-type]  # the tests' words are the contract's
        capacity=100,
        version="1",
        engine_version=1,
        started_ms=0,
    )


def assignment(guild: str, owner: str, *, epoch: int = 1) -> Assignment:
    """An assignment."""
    return Assignment(
        guild=GuildId(guild),
        pod=PodId(owner),
        incarnation=start(1),
        epoch=Epoch(epoch),
        first_sequence=Sequence(10),
        generation=GENERATION,
        cause="placed",
        since_ms=0,
    )


def registered(guild: str) -> RegisteredGuild:
    """A registration."""
    return RegisteredGuild(guild=GuildId(guild), name=f"guild {guild}", shard=0, seen_ms=0)


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
    for bucket in BUCKETS[1:]:
        view.reset(bucket, {})
    assert (view.complete, clock.now_s) == (False, 100.0)
    clock.now_s = 103.0
    view.reset(BUCKETS[0], {})
    assert (view.complete, view.synced_at_s) == (True, 103.0)
    view.connection_lost()
    assert (view.complete, view.synced_at_s) == (False, 103.0)


def test_a_pod_is_away_from_the_moment_its_key_is_gone(view: View, clock: Clock) -> None:
    view.entry(storage.PODS, entry("a", lease("a"), 1))
    assert not view.pods[A].fenced
    clock.now_s = 105.0
    view.entry(storage.PODS, entry("a", None, 2))
    clock.now_s = 107.0
    assert view.pods[A].away_since_s == 105.0
    assert view.pods[A].revision == 2
    assert view.pods[A].lease == lease("a")
    view.entry(storage.PODS, entry("a", lease("a", number=3), 3))
    assert view.pods[A].away_since_s is None


def test_a_fence_does_not_begin_the_absence_anew(view: View, clock: Clock) -> None:
    view.entry(storage.PODS, entry("a", None, 2))
    clock.now_s = 170.0
    view.entry(storage.PODS, entry("a", lease("a", state="fenced"), 3))
    assert view.pods[A].away_since_s == 100.0
    assert view.pods[A].fenced


def test_who_is_not_there_after_a_reconnect_counts_as_away_from_then(
    view: View, clock: Clock
) -> None:
    view.reset(storage.PODS, {"a": entry("a", lease("a"), 1), "b": entry("b", lease("b"), 2)})
    view.entry(storage.PODS, entry("b", None, 3))
    clock.now_s = 500.0
    view.reset(storage.PODS, {})
    assert view.pods[A].away_since_s == 500.0
    assert view.pods[B].away_since_s == 500.0


def test_a_pod_whose_lease_is_not_renewed_is_away_until_it_is(view: View, clock: Clock) -> None:
    listener = Listener(view)
    view.entry(storage.PODS, entry("a", lease("a"), 5))
    clock.now_s = 107.0
    view.not_renewed(A, 4)
    assert view.pods[A].away_since_s is None, "that was an earlier revision"
    view.not_renewed(A, 5)
    clock.now_s = 109.0
    view.not_renewed(A, 5)
    assert (view.pods[A].away_since_s, view.pods[A].revision) == (107.0, 5)
    assert view.pods[A].lease == lease("a")
    assert listener.changes == 2
    view.entry(storage.PODS, entry("a", lease("a"), 6))
    assert view.pods[A].away_since_s is None


def test_older_news_does_not_undo_newer(view: View) -> None:
    view.assigned(assignment("1", "a", epoch=3), 9)
    view.entry(storage.GUILDS, entry("1", assignment("1", "b", epoch=2), 8))
    assert view.assignments[ONE].assignment.pod == "a"
    view.assigned(assignment("1", "b", epoch=2), 8)
    assert view.assignments[ONE].revision == 9
    view.entry(storage.PODS, entry("a", lease("a"), 5))
    view.entry(storage.PODS, entry("a", None, 4))
    assert view.pods[A].away_since_s is None


def test_revisions_may_begin_anew_with_a_rebuilt_bucket(view: View) -> None:
    view.reset(storage.GUILDS, {"1": entry("1", assignment("1", "a", epoch=3), 900)})
    view.reset(storage.GUILDS, {"1": entry("1", assignment("1", "b"), 1)})
    assert view.assignments[ONE].assignment.pod == "b"
    assert view.assignments[ONE].revision == 1


def test_a_deleted_assignment_is_remembered_as_one(view: View) -> None:
    view.entry(storage.GUILDS, entry("1", assignment("1", "a"), 4))
    view.entry(storage.GUILDS, entry("1", None, 5))
    assert not view.assignments
    assert view.unassigned == {"1": 5}


def test_a_lease_that_cannot_be_read_is_nobodys_absence(view: View) -> None:
    view.entry(storage.PODS, entry("a", lease("a"), 1))
    view.entry(storage.PODS, entry("a", b"{", 2))
    assert view.pods[A].away_since_s is None
    assert view.pods[A].revision == 2


@pytest.mark.parametrize("value", [b"{", b"[]", encode(assignment("2", "a"))])
def test_an_assignment_that_cannot_be_read_is_treated_as_deleted(view: View, value: bytes) -> None:
    view.entry(storage.GUILDS, entry("1", value, 4))
    assert not view.assignments
    assert view.unassigned == {"1": 4}


def test_a_key_that_is_no_guild_is_left_out(view: View) -> None:
    view.entry(storage.REGISTRY, entry("nonsense", registered("nonsense"), 1))
    assert not view.registry


def test_a_renewal_that_only_reports_load_is_no_news(view: View) -> None:
    listener = Listener(view)
    first = lease("a")
    view.entry(storage.PODS, entry("a", first, 1))
    assert listener.changes == 1
    assert listener.pods == [first]
    view.entry(storage.PODS, entry("a", first, 2))
    assert listener.changes == 1
    assert view.pods[A].revision == 2
    view.entry(storage.PODS, entry("a", lease("a", state="draining"), 3))
    assert listener.changes == 2


def test_a_new_name_is_told_but_changes_no_placement(view: View) -> None:
    listener = Listener(view)
    view.entry(storage.REGISTRY, entry("1", registered("1"), 1))
    assert listener.changes == 1
    renamed = RegisteredGuild(guild=registered("1").guild, name="other", shard=0, seen_ms=9)
    view.entry(storage.REGISTRY, entry("1", renamed, 2))
    assert listener.changes == 1
    assert listener.guilds == [registered("1"), renamed]


def test_news_of_a_pod_concern_the_guilds_that_name_it(view: View) -> None:
    view.entry(storage.GUILDS, entry("1", assignment("1", "a"), 1))
    view.entry(storage.GUILDS, entry("2", assignment("2", "b"), 2))
    view.dirty.clear()
    view.entry(storage.PODS, entry("a", lease("a"), 3))
    assert view.dirty == {"1"}


def test_the_index_follows_every_change(view: View) -> None:
    view.entry(storage.GUILDS, entry("1", assignment("1", "a"), 1))
    view.entry(storage.GUILDS, entry("1", assignment("1", "b", epoch=2), 2))
    assert (view.index.owned[A], view.index.owned[B]) == (0, 1)
    assert set(view.index.by_pod) == {"b"}
    assert view.index.opening[B] == 1
    view.entry(storage.GUILDS, entry("1", None, 3))
    assert (view.index.owned[B], view.index.opening[B], dict(view.index.by_pod)) == (0, 0, {})
