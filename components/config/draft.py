"""One run of `decide`: the world, the room that is left while decisions are made, and the
decisions so far. Decisions of one run know of each other; the next run knows what was written."""

from collections.abc import Collection

import msgspec

from components.config.sources import kept
from components.config.standing import has_joined, holds, serving, standing
from components.config.world import Assign, Decisions, Held, Waiting, World
from contracts.ids import Epoch, GuildId, PodId
from contracts.records import Assignment, Holder, Joining, PodLease


class Room:
    """The pods that take guilds, and how much each has."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.owned = dict(world.owned)
        self.followed = dict(world.followed)
        self._joining = dict(world.joining)
        self._arriving = dict(world.arriving)
        self._opening = dict(world.opening)
        self._by_shard = dict(world.by_shard)
        self._pods = [lease for pod in sorted(world.pods) if (lease := serving(world, pod))]

    def owner(
        self, *, without: Collection[PodId] = (), first: PodId | None = None
    ) -> PodLease | None:
        """The pod for one more guild that nobody serves: ``first`` if it has room, else the one
        that owns least; None when none has. Room that a move was promised comes last: a move can
        be given up."""
        free = [x for x in self._pods if x.pod not in without and not self.is_full(x)]
        return self._least([x for x in free if self._has_room(x)] or free, first)

    def target(self, *, without: Collection[PodId], first: PodId | None) -> PodLease | None:
        """The same for a guild that is served and is to move."""
        free = [x for x in self._pods if x.pod not in without and self._has_room(x)]
        return self._least(free, first)

    def _least(self, free: list[PodLease], first: PodId | None) -> PodLease | None:
        return min(
            free,
            key=lambda lease: (
                lease.pod != first,
                self._promised(lease.pod),
                self.load(lease.pod),
                lease.pod,
            ),
            default=None,
        )

    def follower(self, owner: PodId, *, without: Collection[PodId] = ()) -> PodLease | None:
        """The pod to follow one more guild of the owner's: in another zone, if there is one; None
        when none has room. A pod may follow as many guilds as it may own."""
        others = [x for x in self._pods if x.pod != owner and x.pod not in without]
        return min(
            (x for x in others if self.followed.get(x.pod, 0) < x.capacity),
            key=lambda lease: (
                self.share_zone(lease.pod, owner),
                self.load(lease.pod),
                lease.pod,
            ),
            default=None,
        )

    def share_zone(self, one: PodId, other: PodId) -> bool:
        """Whether two pods state the same zone."""
        zone = self._zone(one)
        return bool(zone) and zone == self._zone(other)

    def _zone(self, pod: PodId) -> str:
        known = self._world.pods.get(pod)
        return known.lease.zone if known is not None and known.lease is not None else ""

    def load(self, pod: PodId) -> float:
        """What a pod has to do, in guilds: a follower applies like an owner and sends nothing."""
        return self.owned.get(pod, 0) + self.followed.get(pod, 0) / 2

    def takes(self, pod: PodId) -> bool:
        """Whether the pod has room for one more guild beside what it owns and is to own."""
        return any(lease.pod == pod and self._has_room(lease) for lease in self._pods)

    def is_full(self, lease: PodLease) -> bool:
        """Whether the pod owns as many guilds as it may."""
        return self.owned.get(lease.pod, 0) >= lease.capacity

    def _has_room(self, lease: PodLease) -> bool:
        return self._promised(lease.pod) < lease.capacity

    def _promised(self, pod: PodId) -> int:
        return self.owned.get(pod, 0) + self._arriving.get(pod, 0)

    def why_none(self) -> str:
        """Why there is no owner for one more guild."""
        if not self._pods:
            return "no pod is serving"
        return (
            f"no pod has room: {len(self._pods)} serving, all at their capacity; start another "
            "pod or raise MODBOT_GATEWAY_CAPACITY"
        )

    def is_alone(self, pod: PodId) -> bool:
        """Whether no other pod takes guilds."""
        return all(lease.pod == pod for lease in self._pods)

    def shard_is_full(self, shard: int) -> bool:
        """Whether Discord allows the shard no more guilds."""
        return self._by_shard.get(shard, 0) >= self._world.options.guilds_per_shard

    def added(self, shard: int) -> None:
        """One more guild of the shard is placed."""
        self._by_shard[shard] = self._by_shard.get(shard, 0) + 1

    def may_join(self, pod: PodId) -> bool:
        """Whether the pod may build one more guild now."""
        return self._joining.get(pod, 0) < self._world.options.joining_at_once

    def may_open(self, pod: PodId) -> bool:
        """Whether the pod may take over one more guild in a planned move now."""
        return self._opening.get(pod, 0) < self._world.options.opening_at_once

    def changed(self, before: Assignment | None, after: Assignment) -> None:
        """Count a decision."""
        if before is None or before.pod != after.pod:
            _count(self.owned, after.pod, 1)
            if before is not None:
                _count(self.owned, before.pod, -1)
        if before is None or before.epoch != after.epoch:
            _count(self._opening, after.pod, 1)
        for one, step in ((before, -1), (after, 1)):
            if one is None:
                continue
            if one.joining is not None:
                _count(self._joining, one.joining.pod, step)
            if (coming := arrives(one)) is not None:
                _count(self._arriving, coming, step)
            if (follower := follows(one)) is not None:
                _count(self.followed, follower, step)


class Draft:
    """What has been decided so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.room = Room(world)
        self.out = Decisions(
            assign=[],
            look_up=[],
            waiting={},
            lacking={},
            postponed=[],
            settled={},
            unfit={},
            wake={},
        )

    def write(self, held: Held | None, assignment: Assignment, reason: str) -> None:
        """Decide to write an assignment. Whoever held the rows and is named no more becomes one
        of its sources."""
        before = held.assignment if held is not None else None
        if before is not None:
            assignment = kept(self.world, before, assignment)
        self.room.changed(before, assignment)
        self.out.assign.append(
            Assign(
                assignment=assignment,
                revision=held.revision if held is not None else 0,
                reason=reason,
                former=before,
            )
        )

    def wait(self, guild: GuildId, pod: PodId | None, reason: str) -> None:
        """Nobody serves the guild; say why."""
        self.out.waiting[guild] = Waiting(pod=pod, reason=reason)

    def lack(self, guild: GuildId, reason: str) -> None:
        """The guild is served, and something is missing; say what."""
        self.out.lacking[guild] = reason

    def unbalance(self, guild: GuildId, why: str) -> None:
        """Give up what balance wants of the guild: it looks anew, and waits for what it wanted."""
        wanted = self.world.wanted.get(guild)
        if wanted is not None and wanted.cause == "rebalanced":
            self.out.settled[guild] = why

    def wake(self, guild: GuildId, at_s: float) -> None:
        """Decide about the guild again at that time."""
        self.out.wake[guild] = min(at_s, self.out.wake.get(guild, at_s))

    def stale(self, guild: GuildId, until_s: float) -> bool:
        """Whether that time has come; if not, the guild is decided about again then."""
        if self.world.now_s >= until_s:
            return True
        self.wake(guild, until_s)
        return False

    def overdue(self, guild: GuildId, joining: Joining) -> str:
        """Why a pod that has not built the guild's rows is given up as their builder; "" while it
        is not."""
        within_s = self.world.options.join_within_s
        since_s = self.world.joining_since.get(guild, self.world.now_s)
        if not self.stale(guild, since_s + within_s):
            return ""
        builder = Holder(pod=joining.pod, incarnation=joining.incarnation)
        self.out.unfit[guild] = (builder, self.world.now_s + within_s)
        return f"{joining.pod} has not built its rows within {within_s:g} s"

    def unfit(self, guild: GuildId) -> set[PodId]:
        """Pods that were given up as builders of the guild and are not asked again yet, unless
        they have started anew. Asks to be asked again when they are."""
        return {
            builder.pod
            for builder, until_s in self.world.unfit.get(guild, {}).items()
            if standing(self.world, builder.pod, builder.incarnation) == "here"
            and not self.stale(guild, until_s)
        }

    def did_not_build(self, pods: Collection[PodId]) -> str:
        """Words for pods that are unfit."""
        within_s = self.world.options.join_within_s
        names = " and ".join(sorted(pods))
        return f"{names} did not build its rows within {within_s:g} s: tried again later"

    def holds(self, guild: GuildId, holder: Holder | None) -> bool:
        """Whether that start of the pod is here and has the guild's rows."""
        return holds(self.world, guild, holder)

    def has_joined(self, guild: GuildId, joining: Joining) -> bool:
        """Whether the pod has answered this joining: it has the rows, and follows."""
        return has_joined(self.world, guild, joining)


def follows(assignment: Assignment) -> PodId | None:
    """The pod that follows the guild, or is being made to."""
    joining = assignment.joining
    if joining is not None and joining.purpose == "follow":
        return joining.pod
    return assignment.follower.pod if assignment.follower is not None else None


def arrives(assignment: Assignment) -> PodId | None:
    """The pod that is being made the guild's owner."""
    joining = assignment.joining
    if joining is None or joining.purpose != "own" or joining.pod == assignment.pod:
        return None
    return joining.pod


def next_epoch(held: Held, **changes: object) -> Assignment:
    """The assignment at the next epoch."""
    return msgspec.structs.replace(
        held.assignment,
        epoch=Epoch(held.assignment.epoch + 1),
        since_ms=0,
        by="",
        **changes,
    )


def _count(counts: dict[PodId, int], pod: PodId, step: int) -> None:
    counts[pod] = counts.get(pod, 0) + step
