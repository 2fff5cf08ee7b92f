"""What operators ask: answered by any replica from its own view, which may be a moment old.

Raises `ServiceError`, whose words say what to do."""

from collections.abc import Container

from components.config.balancing import Balancer
from components.config.database import Database
from components.config.hearing import HeardProgress
from components.config.leadership import Leadership
from components.config.operations import Operations
from components.config.parking import parked, skip_words
from components.config.placing import Placer
from components.config.resharding import Resharding
from components.config.tidying import forgettable
from components.config.view import View
from components.config.watchfulness import Watch
from components.config.world import Held, Pod
from components.ownership.changes import change_of
from components.process.clock import steady_s
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId, PodId, Sequence, is_snowflake
from contracts.operations import (
    BalanceReport,
    ClusterStatus,
    GuildLine,
    GuildList,
    GuildPlacement,
    GuildQuery,
    GuildsQuery,
    History,
    HistoryQuery,
    OwnershipChange,
    PlannedMove,
    PodList,
    PodSummary,
    WaitingGuild,
)

MAX_LISTED = 1_000
MAX_PAGE = 2_000


class Answers:
    """Answers from what this replica knows."""

    def __init__(
        self,
        view: View,
        placer: Placer,
        balancer: Balancer,
        operations: Operations,
        resharding: Resharding,
        heard: HeardProgress,
        database: Database,
        leadership: Leadership,
        watch: Watch,
        replica: str,
    ) -> None:
        self._view = view
        self._placer = placer
        self._balancer = balancer
        self._operations = operations
        self._resharding = resharding
        self._heard = heard
        self._database = database
        self._leadership = leadership
        self._watch = watch
        self._replica = replica

    async def status(self, _: None) -> ClusterStatus:
        """The whole cluster as this replica sees it."""
        await self._explained()
        view, leader = self._view, self._placer.leader
        balance = view.intents.balance
        return ClusterStatus(
            leader=self._leadership.holder,
            replica=self._replica,
            pods=self._pods(),
            guilds=len(view.registry.keys() | view.assignments.keys()),
            waiting=[
                WaitingGuild(
                    guild=guild,
                    name=self._name(guild),
                    pod=leader.waiting[guild].pod,
                    reason=leader.waiting[guild].reason,
                )
                for guild in sorted(leader.waiting, key=int)[:MAX_LISTED]
            ],
            waiting_total=len(leader.waiting),
            database="up" if self._database.up else "down",
            lacking=[
                WaitingGuild(
                    guild=guild,
                    name=self._name(guild),
                    pod=self._owner(guild),
                    reason=leader.lacking[guild],
                )
                for guild in sorted(leader.lacking, key=int)[:MAX_LISTED]
            ],
            lacking_total=len(leader.lacking),
            without_follower=sum(not self._followed(held) for held in view.assignments.values()),
            paused=view.intents.paused,
            paused_by=balance.by if balance is not None and balance.paused else "",
            paused_reason=balance.reason if balance is not None and balance.paused else "",
            unwritten_rows=self._database.pending,
            operations=[*self._operations.running, *self._resharding.running]
            if self._leadership.leading
            else self._heard.running,
            shards=await self._resharding.status(),
            alarms=self._watch.alarms,
            nodes=self._watch.nodes,
        )

    async def pods(self, _: None) -> PodList:
        """Every pod."""
        self.require_view()
        return PodList(pods=self._pods())

    async def guild(self, query: GuildQuery) -> GuildPlacement:
        """One guild; 404 when nobody has seen it."""
        guild = guild_of(query.guild)
        await self._explained()
        history = await self._database.history(guild)
        view, leader = self._view, self._placer.leader
        registered, held = view.registry.get(guild), view.assignments.get(guild)
        if registered is None and held is None and not history:
            raise ServiceError(
                ErrorCode.NOT_FOUND,
                f"nobody has seen guild {guild}: check the id, that the bot is a member of it, and "
                "that a shard is connected",
            )
        owned = held.assignment if held is not None else None
        waiting = leader.waiting.get(guild)
        reason = waiting.reason if waiting is not None else ""
        if waiting is None and owned is None:
            reason = "the bot is not a member of it any more"
        follower = owned.follower.pod if owned is not None and owned.follower is not None else None
        joining = owned.joining.pod if owned is not None and owned.joining is not None else None
        sources = owned.sources if owned is not None else []
        return GuildPlacement(
            guild=guild,
            name=self._name(guild),
            present=registered.present if registered is not None else False,
            pod=owned.pod if owned is not None else None,
            incarnation=owned.incarnation if owned is not None else None,
            epoch=owned.epoch if owned is not None else None,
            state="served" if owned is not None and waiting is None else "waiting",
            reason=reason,
            history=_with_current(list(history or []), held),
            follower=follower,
            follower_ready=held is not None and self._followed(held),
            joining=joining,
            pinned=view.intents.pinned.get(guild),
            sources=[f"{source.pod}/{source.incarnation}" for source in sources],
            lacks=leader.lacking.get(guild, ""),
            parked_at=parked(view).get(guild),
        )

    async def guilds(self, query: GuildsQuery) -> GuildList:
        """A page of guilds."""
        after = int(guild_of(query.after)) if query.after is not None else 0
        await self._explained()
        known = self._view.registry.keys() | self._view.assignments.keys()
        stopped = parked(self._view)
        matching = sorted(
            (g for g in known if int(g) > after and self._matches(g, query, stopped)), key=int
        )
        page = matching[: _limited(query.limit, MAX_PAGE)]
        lines = [self._line(guild, stopped.get(guild)) for guild in page]
        return GuildList(guilds=lines, total=len(matching))

    async def plan(self, _: None) -> BalanceReport:
        """What a rebalance would do."""
        self.require_view()
        planned = await self._balancer.plan()
        moves = [(move, move.to_pod) for move in planned.moves if move.to_pod is not None]
        return BalanceReport(
            moves=[
                PlannedMove(
                    guild=move.guild,
                    name=self._name(move.guild),
                    from_pod=move.from_pod,
                    to_pod=to_pod,
                    purpose=move.kind,
                    weight=move.weight,
                    reason=move.reason,
                )
                for move, to_pod in moves[:MAX_LISTED]
            ],
            moves_total=len(moves),
            max_over_mean=planned.before.load_max_over_mean,
            max_over_mean_after=planned.after.load_max_over_mean,
            min_over_mean=planned.before.load_min_over_mean,
            notes=[note.words for note in planned.notes],
            paused=self._view.intents.paused,
        )

    async def history(self, query: HistoryQuery) -> History:
        """Changes of ownership; 503 while PostgreSQL is away."""
        guild = guild_of(query.guild) if query.guild is not None else None
        limit = _limited(query.limit, MAX_LISTED)
        changes = await self._database.history(guild, query.pod, limit)
        if changes is None:
            raise ServiceError(
                ErrorCode.UNAVAILABLE,
                "PostgreSQL is away, and history is in it: nothing is lost, it is written when "
                "PostgreSQL is back; ask again then",
            )
        return History(changes=changes)

    def require_view(self) -> None:
        """503 while this replica does not know everything that is on the bus."""
        if not self._view.complete:
            raise ServiceError(
                ErrorCode.UNAVAILABLE,
                f"{self._replica} is still reading the buckets; ask again in a second",
            )

    def require_pod(self, pod: PodId) -> Pod:
        """The pod, or 404."""
        self.require_view()
        known = self._view.pods.get(pod)
        if known is None:
            names = ", ".join(sorted(self._view.pods)) or "none"
            raise ServiceError(ErrorCode.NOT_FOUND, f"there is no pod {pod!r}; there are: {names}")
        return known

    def require_guild(self, guild: GuildId) -> Held:
        """The guild's assignment, or 404."""
        self.require_view()
        held = self._view.assignments.get(guild_of(guild))
        if held is None:
            raise ServiceError(
                ErrorCode.NOT_FOUND, f"guild {guild} has no owner yet: `modbot ops guild` says why"
            )
        return held

    async def _explained(self) -> None:
        self.require_view()
        await self._placer.explain()

    def _pods(self) -> list[PodSummary]:
        view = self._view
        named = {pod for pod, count in view.index.owned.items() if count}
        now_s = steady_s()
        known = {name: pod for name, pod in view.pods.items() if not forgettable(view, pod, now_s)}
        pods = {**{pod: Pod(pod=pod, away_since_s=0.0) for pod in named}, **known}
        return [self._summary(pods[name]) for name in sorted(pods)]

    def _summary(self, pod: Pod) -> PodSummary:
        index, lease, name = self._view.index, pod.lease, pod.pod
        away = pod.away_since_s is not None
        guilds, follows = index.owned.get(name, 0), index.followed.get(name, 0)
        building, draining = index.joining.get(name, 0), name in self._view.intents.draining
        if lease is None:
            state = "away" if away else "starting"
            return PodSummary(
                pod=name,
                state=state,  # type: ignore[arg-type]  # one of the states
                open=0,
                capacity=0,
                to_be_empty=draining,
                guilds=guilds,
                follows=follows,
                building=building,
            )
        return PodSummary(
            pod=name,
            incarnation=lease.incarnation,
            state="away" if away and lease.state != "fenced" else lease.state,
            open=0 if away else lease.guilds,
            capacity=lease.capacity,
            applied_per_s=0.0 if away else lease.applied_per_s,
            replica=lease.replica,
            version=lease.version,
            zone=lease.zone,
            to_be_empty=draining,
            backup_lag_s=lease.backup_lag_s,
            backup_retention_h=lease.backup_retention_h,
            pruning_looked_ms=lease.pruning_looked_ms,
            pruned_replicas=lease.pruned_replicas,
            rest_share_per_s=0.0 if away else lease.rest_share_per_s,
            rest_wanted_per_s=0.0 if away else lease.rest_wanted_per_s,
            guilds=guilds,
            follows=follows,
            building=building,
        )

    def _line(self, guild: GuildId, parked_at: Sequence | None) -> GuildLine:
        view, leader = self._view, self._placer.leader
        held, waiting = view.assignments.get(guild), leader.waiting.get(guild)
        owned = held.assignment if held is not None else None
        follower = owned.follower if owned is not None else None
        reason = leader.lacking.get(guild, "")
        if waiting is not None:
            reason = waiting.reason
        elif parked_at is not None:
            reason = skip_words(guild, parked_at)
        return GuildLine(
            guild=guild,
            name=self._name(guild),
            pod=owned.pod if owned is not None else None,
            follower=follower.pod if follower is not None else None,
            epoch=owned.epoch if owned is not None else None,
            state="served" if owned is not None and waiting is None else "waiting",
            pinned=guild in view.intents.pins,
            reason=reason,
            parked_at=parked_at,
        )

    def _matches(self, guild: GuildId, query: GuildsQuery, stopped: Container[GuildId]) -> bool:
        if query.waiting and guild not in self._placer.leader.waiting and guild not in stopped:
            return False
        if query.pod is None:
            return True
        held = self._view.assignments.get(guild)
        if held is None:
            return False
        owned = held.assignment
        follower = owned.follower.pod if owned.follower is not None else None
        return query.pod in (owned.pod, follower)

    def _followed(self, held: Held) -> bool:
        """Whether the follower has the rows."""
        follower = held.assignment.follower
        if follower is None:
            return False
        holding = self._view.holds.get(held.assignment.guild, {}).get(follower.pod)
        return holding is not None and holding.incarnation == follower.incarnation

    def _owner(self, guild: GuildId) -> PodId | None:
        held = self._view.assignments.get(guild)
        return held.assignment.pod if held is not None else None

    def _name(self, guild: GuildId) -> str:
        registered = self._view.registry.get(guild)
        return registered.name if registered is not None else ""


def guild_of(guild: str) -> GuildId:
    """A guild's id, or 422."""
    if not is_snowflake(guild):
        raise ServiceError(ErrorCode.INVALID, f"{guild!r} is not a guild's id; it is a number")
    return GuildId(guild)


def _limited(limit: int, most: int) -> int:
    if not 0 < limit <= most:
        raise ServiceError(ErrorCode.INVALID, f"limit must be between 1 and {most}")
    return limit


def _with_current(changes: list[OwnershipChange], held: Held | None) -> list[OwnershipChange]:
    """The history, with what PostgreSQL does not have yet and the bus carries."""
    if held is None:
        return changes
    recorded, owned = {change.epoch for change in changes}, held.assignment
    more = [
        OwnershipChange(
            at_ms=change.since_ms,
            guild=owned.guild,
            epoch=change.epoch,
            pod=change.pod,
            incarnation=change.incarnation,
            cause=change.cause,
            by=f"{change.by or 'config'} (PostgreSQL does not have it yet)",
            from_pod=change.former.pod if change.former is not None else None,
            reason=change.reason,
            took_ms=change.took_ms,
            replayed=change.replayed,
            source=change.source,
        )
        for change in (*owned.unrecorded, change_of(owned))
        if change.epoch not in recorded
    ]
    return sorted([*more, *changes], key=lambda change: change.epoch, reverse=True)
