"""Who is concerned by what: assignments by pod and by shard, and the guilds of a pod that are
under way, kept with every change so that news of one pod costs what its guilds cost."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from components.config.draft import arrives, follows
from components.config.world import Held
from components.ownership.evidence import Evidence
from components.ownership.incarnations import is_newer
from contracts.ids import GuildId, Incarnation, PodId
from contracts.records import Assignment, Holding, RegisteredGuild


class Index:
    """Over all assignments."""

    def __init__(self) -> None:
        self.by_pod: dict[PodId, set[GuildId]] = defaultdict(set)
        """Every guild whose assignment names the pod, in whatever role."""
        self.awaited: dict[PodId, set[GuildId]] = defaultdict(set)
        """Guilds that would wait for the pod, were it gone and not known to be: it owns, follows
        or builds them, or did own them and has not said that it let go and is silent."""
        self.owned: dict[PodId, int] = defaultdict(int)
        self.followed: dict[PodId, int] = defaultdict(int)
        self.joining: dict[PodId, int] = defaultdict(int)
        self.arriving: dict[PodId, int] = defaultdict(int)
        self.opening: dict[PodId, int] = defaultdict(int)
        self.by_shard: dict[int, int] = defaultdict(int)
        self.sourced: dict[PodId, set[GuildId]] = defaultdict(set)
        """By owner: guilds that have sources."""
        self.joining_since: dict[GuildId, float] = {}
        self.opening_since: dict[GuildId, float] = {}
        """Since when an owner has not opened its guild, or cannot serve it any more."""
        self._refused: dict[PodId, frozenset[GuildId]] = {}
        self._opening: dict[GuildId, tuple[PodId, int]] = {}
        self._shards: dict[GuildId, int] = {}

    def clear(self) -> None:
        """Nothing is assigned."""
        refused = self._refused
        self.__init__()  # type: ignore[misc]  # the same start
        self._refused = refused

    def assigned(
        self,
        guild: GuildId,
        before: Assignment | None,
        after: Assignment | None,
        holding: Holding | None,
        registered: RegisteredGuild | None,
        evidence: Evidence,
        now_s: float,
    ) -> None:
        """A guild's assignment has changed; ``holding``: what its new owner says."""
        if before is not None:
            self._count(before, -1)
            self.sourced[before.pod].discard(guild)
            for pod in named(before):
                _discard(self.by_pod, pod, guild)
                _discard(self.awaited, pod, guild)
        if after is not None:
            self._count(after, 1)
            if after.sources:
                self.sourced[after.pod].add(guild)
            for pod in named(after):
                self.by_pod[pod].add(guild)
            for pod in waits_for(after, evidence):
                self.awaited[pod].add(guild)
        joining = after.joining if after is not None else None
        if joining is None:
            self.joining_since.pop(guild, None)
        elif before is None or before.joining != joining or guild not in self.joining_since:
            self.joining_since[guild] = now_s
        self.held(guild, after, holding, now_s)
        self.registered(guild, after, registered)

    def left(self, owned: Assignment, evidence: Evidence) -> None:
        """An earlier owner has said that it let go, or that it is silent."""
        for pod in {one.pod for one in owned.before} - waits_for(owned, evidence):
            _discard(self.awaited, pod, owned.guild)

    def held(
        self, guild: GuildId, owned: Assignment | None, holding: Holding | None, now_s: float
    ) -> None:
        """The owner has said (or not) that the guild is open."""
        now = None
        if owned is not None and not is_open(owned, holding):
            now = (owned.pod, owned.epoch)
        before = self._opening.pop(guild, None)
        if before is not None:
            self.opening[before[0]] -= 1
        if now is not None:
            self._opening[guild] = now
            self.opening[now[0]] += 1
        refused = owned is not None and guild in self._refused.get(owned.pod, ())
        if now is None and not refused:
            self.opening_since.pop(guild, None)
        elif now != before or guild not in self.opening_since:
            self.opening_since[guild] = now_s

    def refused(self, pod: PodId, guilds: Collection[GuildId]) -> None:
        """Whom the pod says that it cannot serve; `held` of those that this changes comes next."""
        self._refused[pod] = frozenset(guilds)

    def registered(
        self, guild: GuildId, owned: Assignment | None, registered: RegisteredGuild | None
    ) -> None:
        """The guild's registration or assignment has changed."""
        before = self._shards.pop(guild, None)
        if before is not None:
            self.by_shard[before] -= 1
        if owned is not None and registered is not None and registered.present:
            self._shards[guild] = registered.shard
            self.by_shard[registered.shard] += 1

    def start_of(self, pod: PodId, assignments: Mapping[GuildId, Held]) -> Incarnation | None:
        """The newest start of the pod that an assignment waits for; None when none does."""
        newest: Incarnation | None = None
        for guild in self.awaited.get(pod, ()):
            for start in _starts(assignments[guild].assignment, pod):
                if newest is None or is_newer(start, newest):
                    newest = start
        return newest

    def _count(self, one: Assignment, step: int) -> None:
        self.owned[one.pod] += step
        if one.joining is not None:
            self.joining[one.joining.pod] += step
        if (coming := arrives(one)) is not None:
            self.arriving[coming] += step
        if (follower := follows(one)) is not None:
            self.followed[follower] += step


def is_open(owned: Assignment, holding: Holding | None) -> bool:
    """Whether the owner has said that the guild is open at its epoch."""
    return (
        holding is not None
        and holding.role == "own"
        and holding.epoch == owned.epoch
        and holding.incarnation == owned.incarnation
    )


def named(assignment: Assignment) -> set[PodId]:
    """Every pod that the assignment names."""
    pods = {assignment.pod, *(one.pod for one in assignment.before)}
    pods.update(source.pod for source in assignment.sources)
    if assignment.follower is not None:
        pods.add(assignment.follower.pod)
    if assignment.joining is not None:
        pods.add(assignment.joining.pod)
    return pods


def waits_for(owned: Assignment, evidence: Evidence) -> set[PodId]:
    """The pods of which the guild has to know whether they are gone (docs/decisions/0006, step
    10). Of an earlier owner that has said itself that it let go and is silent it does not."""
    pods = {one.pod for one in (owned, owned.follower, owned.joining) if one is not None}
    pods.update(one.pod for one in owned.before if not evidence.has_left(owned.guild, one.epoch))
    return pods


def _discard(guilds_of: dict[PodId, set[GuildId]], pod: PodId, guild: GuildId) -> None:
    guilds = guilds_of.get(pod)
    if guilds is not None:
        guilds.discard(guild)
        if not guilds:
            del guilds_of[pod]


def _starts(assignment: Assignment, pod: PodId) -> Iterator[Incarnation]:
    if assignment.pod == pod:
        yield assignment.incarnation
    for one in (assignment.follower, assignment.joining, *assignment.before):
        if one is not None and one.pod == pod:
            yield one.incarnation
