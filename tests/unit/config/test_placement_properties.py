"""What holds in every world, whatever happens to pods, logs and time."""

from collections import Counter

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from components.config.placement import decide
from components.config.world import Held, LogFact, Plan, Pod, World
from contracts.ids import GuildId, PodId, Sequence
from tests.unit.config.worlds import (
    GENERATION,
    NOW_S,
    applied,
    held,
    log,
    pod,
    registered,
    settled,
    world,
)

NAMES = ("a", "b", "c")
GUILDS = tuple(str(number) for number in range(1, 13))

pods = st.builds(
    pod,
    st.sampled_from(NAMES),
    start=st.none() | st.integers(1, 4),
    state=st.sampled_from(["starting", "serving", "draining", "fenced"]),
    capacity=st.integers(0, 5),
    away_since_s=st.none() | st.floats(0, NOW_S),
    revision=st.integers(1, 50),
)
owned = st.builds(
    held,
    st.sampled_from(GUILDS),
    st.sampled_from((*NAMES, "gone")),
    start=st.integers(1, 4),
    epoch=st.integers(1, 9),
    first=st.integers(1, 3),
    revision=st.integers(1, 50),
)
facts = st.builds(
    log,
    st.none() | st.integers(1, 3),
    read_at_s=st.floats(NOW_S - 100, NOW_S),
    generation=st.sampled_from([GENERATION, "another"]),
)
worlds = st.builds(
    world,
    pods=st.lists(pods, unique_by=lambda pod: pod.pod),
    guilds=st.lists(
        st.builds(registered, st.sampled_from(GUILDS), present=st.booleans()),
        unique_by=lambda guild: guild.guild,
    ),
    owned=st.lists(owned, unique_by=lambda held: held.assignment.guild),
    logs=st.dictionaries(st.sampled_from(GUILDS), facts),
    placed_before=st.sets(st.sampled_from(GUILDS)),
    judge_from_s=st.floats(0, NOW_S + 10),
    history_pending_until_s=st.none() | st.floats(NOW_S - 5, NOW_S + 5),
)


@given(worlds)
def test_carrying_out_a_plan_leaves_nothing_to_do(before: World) -> None:
    settled(before)  # asserts it


@given(worlds)
def test_every_change_is_the_next_epoch_of_its_guild_and_made_once(before: World) -> None:
    plan = decide(before)
    assert all(count == 1 for count in Counter(a.assignment.guild for a in plan.assign).values())
    for decision in plan.assign:
        known = before.assignments.get(decision.assignment.guild)
        assert decision.assignment.epoch == (known.assignment.epoch + 1 if known else 1)
        if known is not None:
            assert decision.assignment.first_sequence == known.assignment.first_sequence
            assert decision.assignment.generation == known.assignment.generation


@given(worlds)
def test_a_guild_goes_only_to_a_living_incarnation(before: World) -> None:
    for decision in decide(before).assign:
        target = before.pods[decision.assignment.pod]
        assert target.away_since_s is None
        assert target.lease is not None
        assert target.lease.incarnation == decision.assignment.incarnation


@given(worlds)
def test_no_pod_is_given_more_new_guilds_than_it_has_room_for(before: World) -> None:
    after = settled(before)
    was = Counter(held.assignment.pod for held in before.assignments.values())
    now = Counter(held.assignment.pod for held in after.assignments.values())
    for name, lease in ((each.pod, each.lease) for each in after.pods.values()):
        assert lease is not None
        assert now[name] <= max(was[name], lease.capacity)


@given(worlds)
def test_a_guild_changes_its_pod_only_from_a_fenced_one_and_with_its_whole_log(
    before: World,
) -> None:
    for decision in decide(before).assign:
        known = before.assignments.get(decision.assignment.guild)
        if known is None or known.assignment.pod == decision.assignment.pod:
            continue
        away = before.pods[known.assignment.pod]
        assert away.fenced
        fact = before.logs[decision.assignment.guild]
        assert fact.first == known.assignment.first_sequence
        assert fact.generation == known.assignment.generation
        assert before.now_s >= before.judge_from_s


@given(worlds)
def test_every_guild_that_nobody_serves_has_a_reason(before: World) -> None:
    plan = decide(before)
    for guild, known in before.assignments.items():
        owner = before.pods.get(known.assignment.pod)
        served = (
            owner is not None
            and owner.away_since_s is None
            and owner.lease is not None
            and owner.lease.incarnation == known.assignment.incarnation
            and owner.lease.state in ("serving", "draining")
        )
        assert served == (guild not in plan.waiting)
    for guild, seen in before.registry.items():
        if seen.present and guild not in before.assignments:
            assert plan.waiting[guild].reason


class OwnershipOverTime(RuleBasedStateMachine):
    """Pods come, go, wake and are fenced; logs grow and expire; leaders decide on what may be
    old news. The bucket refuses what was decided on an old revision, as NATS does."""

    guilds = Bundle("guilds")

    def __init__(self) -> None:
        super().__init__()
        self.now = world(now_s=0.0)
        self.news = self.now
        self.owner_of: dict[tuple[GuildId, int], PodId] = {}
        self.starts = 0

    @rule(target=guilds, guild=st.sampled_from(GUILDS), first=st.integers(1, 9))
    def register(self, guild: str, first: int) -> str:
        registry = {**self.now.registry, GuildId(guild): registered(guild)}
        self._set(registry=registry, logs={GuildId(guild): self._fact(first), **self.now.logs})
        return guild

    @rule(name=st.sampled_from(NAMES), capacity=st.integers(0, 6))
    def start(self, name: str, capacity: int) -> None:
        self.starts += 1
        known = self.now.pods.get(PodId(name))
        revision = (known.revision if known else 0) + 1
        fresh = pod(name, start=self.starts, capacity=capacity, revision=revision)
        self._set(pods={**self.now.pods, fresh.pod: fresh})

    @rule(name=st.sampled_from(NAMES))
    def vanish(self, name: str) -> None:
        known = self.now.pods.get(PodId(name))
        if known is not None and known.away_since_s is None:
            gone = msgspec.structs.replace(
                known, away_since_s=self.now.now_s, revision=known.revision + 1
            )
            self._set(pods={**self.now.pods, gone.pod: gone})

    @rule(guild=consumes(guilds), later=st.none() | st.integers(10, 20))
    def expire(self, guild: str, later: int | None) -> None:
        self._set(logs={**self.now.logs, GuildId(guild): self._fact(later)})

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        now_s = self.now.now_s + seconds
        logs = {
            guild: msgspec.structs.replace(fact, read_at_s=now_s)
            for guild, fact in self.now.logs.items()
        }
        self._set(now_s=now_s, logs=logs)

    @rule()
    def hear_news(self) -> None:
        self.news = self.now

    @rule()
    def lead(self) -> None:
        plan = decide(msgspec.structs.replace(self.news, now_s=self.now.now_s))
        accepted = Plan(
            assign=[a for a in plan.assign if a.revision == self._revision(a.assignment.guild)],
            fence=[f for f in plan.fence if f.revision == self._pod_revision(f.lease.pod)],
            look_up=[],
            waiting={},
            wake_at_s=None,
        )
        self.now = applied(self.now, accepted)
        for decision in accepted.assign:
            key = (decision.assignment.guild, decision.assignment.epoch)
            assert key not in self.owner_of
            self.owner_of[key] = decision.assignment.pod

    @invariant()
    def epochs_have_no_gaps(self) -> None:
        last = Counter(guild for guild, _ in self.owner_of)
        for guild, known in self.now.assignments.items():
            assert known.assignment.epoch == last[guild]

    def _set(self, **changes: object) -> None:
        self.now = msgspec.structs.replace(self.now, **changes)

    def _fact(self, first: int | None) -> LogFact:
        return LogFact(
            first=None if first is None else Sequence(first),
            generation=GENERATION,
            read_at_s=self.now.now_s,
        )

    def _revision(self, guild: GuildId) -> int:
        known: Held | None = self.now.assignments.get(guild)
        return known.revision if known else 0

    def _pod_revision(self, name: PodId) -> int:
        known: Pod | None = self.now.pods.get(name)
        return known.revision if known else 0


TestOwnershipOverTime = OwnershipOverTime.TestCase
