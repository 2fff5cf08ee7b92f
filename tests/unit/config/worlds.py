"""Worlds for the tests of placement, and what applying a plan to one gives."""

import msgspec

from components.config.placement import decide
from components.config.world import Held, LogFact, Plan, Pod, World
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.records import Assignment, PodLease, RegisteredGuild

NOW_S = 1000.0
GENERATION = Generation("2026-01-01T00:00:00Z")


def pod(
    name: str,
    *,
    start: int | None = 1,
    state: str = "serving",
    capacity: int = 100,
    away_since_s: float | None = None,
    revision: int = 7,
) -> Pod:
    """A pod whose last lease was its ``start``-th."""
    lease = PodLease(
        pod=PodId(name),
        incarnation=None if start is None else Incarnation(f"b-{start}"),
        data=f"disk of {name}",
        state=state,  # type: ignore[arg-type]  # the tests' words are the contract's
        capacity=capacity,
        version="1",
        engine_version=1,
        started_ms=0,
    )
    if state == "fenced" and away_since_s is None:
        away_since_s = 0.0
    return Pod(pod=PodId(name), lease=lease, revision=revision, away_since_s=away_since_s)


def registered(guild: str, *, present: bool = True) -> RegisteredGuild:
    """A guild that a shard has seen."""
    return RegisteredGuild(
        guild=GuildId(guild), name=f"guild {guild}", shard=0, present=present, seen_ms=0
    )


def held(
    guild: str, owner: str, *, start: int = 1, epoch: int = 1, first: int = 10, revision: int = 5
) -> Held:
    """An assignment of the guild."""
    assignment = Assignment(
        guild=GuildId(guild),
        pod=PodId(owner),
        incarnation=Incarnation(f"b-{start}"),
        epoch=Epoch(epoch),
        first_sequence=Sequence(first),
        generation=GENERATION,
        cause="placed",
        since_ms=0,
    )
    return Held(assignment=assignment, revision=revision)


def log(
    first: int | None = 10, *, read_at_s: float = NOW_S, generation: str = GENERATION
) -> LogFact:
    """What a log begins with."""
    return LogFact(
        first=None if first is None else Sequence(first),
        generation=Generation(generation),
        read_at_s=read_at_s,
    )


def world(
    *,
    pods: list[Pod] | None = None,
    guilds: list[RegisteredGuild] | None = None,
    owned: list[Held] | None = None,
    logs: dict[str, LogFact] | None = None,
    placed_before: set[str] | None = None,
    now_s: float = NOW_S,
    judge_from_s: float = 0.0,
    history_pending_until_s: float | None = None,
) -> World:
    """A world at `NOW_S` in which pods are replaced after 60 s."""
    return World(
        now_s=now_s,
        judge_from_s=judge_from_s,
        replace_after_s=60.0,
        pods={pod.pod: pod for pod in pods or []},
        registry={guild.guild: guild for guild in guilds or []},
        assignments={held.assignment.guild: held for held in owned or []},
        logs={GuildId(guild): fact for guild, fact in (logs or {}).items()},
        placed_before={GuildId(guild) for guild in placed_before or set()},
        history_pending_until_s=history_pending_until_s,
    )


def applied(before: World, plan: Plan) -> World:
    """The world after everything that the plan writes has been written."""
    pods = dict(before.pods)
    for fence in plan.fence:
        known = pods.get(fence.lease.pod)
        since = known.away_since_s if known is not None else before.judge_from_s
        pods[fence.lease.pod] = Pod(
            pod=fence.lease.pod, lease=fence.lease, revision=fence.revision + 1, away_since_s=since
        )
    assignments = dict(before.assignments)
    for decision in plan.assign:
        known_held = assignments.get(decision.assignment.guild)
        assert decision.revision == (known_held.revision if known_held is not None else 0)
        assignments[decision.assignment.guild] = Held(
            assignment=decision.assignment, revision=decision.revision + 1
        )
    return msgspec.structs.replace(before, pods=pods, assignments=assignments)


def settled(before: World) -> World:
    """The world after plans have been carried out until none acts any more."""
    for _ in range(3):
        plan = decide(before)
        if not plan.acts:
            return before
        before = applied(before, plan)
    assert not decide(before).acts
    return before
