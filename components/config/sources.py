"""Where a guild's rows are, beside its owner (docs/decisions/0006, step 20).

Whoever held the rows and is named no more becomes a source, by force or not: `kept` sees to it
with every assignment that is written (`draft`). A source is given up
only when the owner has the guild open *and* a copy of it is where the owner's death does not reach:
in its replica, or, in an installation without backup, with a follower. What a leader finds when it
or NATS has only just come, or when it was kept from looking, is no proof that a follower still
lives: it waits until silence would have shown (`World.seen_from_s`). Without a backup, owner and
follower that lose their disks before anybody can have seen it are lost all the same.
"""

import msgspec

from components.config.standing import holds, standing
from components.config.world import Held, World
from contracts.ids import GuildId, Incarnation, PodId
from contracts.records import Assignment, Holding, PodLease, StateSource


def source_of(
    world: World, guild: GuildId, pod: PodId, incarnation: Incarnation
) -> StateSource | None:
    """That start of the pod as a source; None when it is not known to have had the rows (an
    earlier start that had them is a source already)."""
    holding = world.holds.get(guild, {}).get(pod)
    if holding is None or holding.incarnation != incarnation:
        return None
    lease = world.starts.get((pod, incarnation))
    replica = lease.replica if lease is not None else _replica_by_rule(world, pod, incarnation)
    return StateSource(pod=pod, incarnation=incarnation, data=holding.data, replica=replica)


def kept(world: World, before: Assignment, after: Assignment) -> Assignment:
    """``after``, with those who held the rows in ``before`` and are named no more as its
    sources; the owner, who had the most to go on from, is the newest of them."""
    still = _named(after)
    sources = after.sources
    for one in reversed(_named(before)):
        if one in still:
            continue
        new = source_of(world, before.guild, *one)
        if new is not None:
            sources = [old for old in sources if not _same(old, new)] + [new]
    return after if sources is after.sources else msgspec.structs.replace(after, sources=sources)


def shrunk(world: World, held: Held) -> list[StateSource]:
    """The sources that are still needed."""
    owned = held.assignment
    if not owned.sources:
        return owned.sources
    holding = world.holds.get(owned.guild, {}).get(owned.pod)
    if not _open(world, owned, holding):
        return owned.sources
    assert holding is not None  # it is open
    lease = world.pods[owned.pod].lease
    assert lease is not None  # it is here
    if lease.replica:
        return [] if lease.backed_up_beat >= holding.beat else owned.sources
    if world.now_s < world.seen_from_s:
        return owned.sources  # of those whose lease is still there some may be dead, disks and all
    holders = [one for one in (owned, owned.follower) if one is not None]
    if any(world.evidence.has_ended(one.pod, one.incarnation) for one in holders):
        return owned.sources  # its lease is about to be fenced
    if holds(world, owned.guild, owned.follower):
        return []
    if world.options.followers == 0:
        return [x for x in owned.sources if x.replica]
    # Without backup and follower, older starts on the owner's own disk add nothing to it.
    return [x for x in owned.sources if x.replica or x.data != lease.data]


def where_rows_are(world: World, assignment: Assignment) -> list[StateSource]:
    """Every place where the rows are known to be, the best one first: the owner's, the
    follower's, that of who joins, the other sources, newest first."""
    found = [source_of(world, assignment.guild, *one) for one in _named(assignment)]
    known = [source for source in found if source is not None]
    others = [old for old in reversed(assignment.sources) if old not in known]
    return [*known, *sorted(others, key=lambda source: source.pod != assignment.pod)]


def has_rows(lease: PodLease, sources: list[StateSource]) -> bool:
    """Whether the pod has come back with one of the sources' disks."""
    return any(source.data and source.data == lease.data for source in sources)


def _named(assignment: Assignment) -> list[tuple[PodId, Incarnation]]:
    """Owner, follower and who joins."""
    found = (assignment, assignment.follower, assignment.joining)
    return [(one.pod, one.incarnation) for one in found if one is not None]


def _open(world: World, owned: Assignment, holding: Holding | None) -> bool:
    return (
        holding is not None
        and holding.role == "own"
        and holding.epoch == owned.epoch
        and holding.incarnation == owned.incarnation
        and standing(world, owned.pod, owned.incarnation) == "here"
    )


def _same(old: StateSource, new: StateSource) -> bool:
    if (old.pod, old.incarnation) == (new.pod, new.incarnation):
        return True
    # One disk without a backup is one place, however often the pod was started on it.
    return not old.replica and (old.pod, old.data) == (new.pod, new.data)


def _replica_by_rule(world: World, pod: PodId, incarnation: Incarnation) -> str:
    """Where the start's replica is if there are backups at all (design.md, "Ownership"): its
    lease was never seen, because this leader is newer than it."""
    backups = any(lease.replica for lease in world.starts.values())
    return f"pods/{pod}/{incarnation}" if backups else ""
