"""Which pod owns and which follows each guild: a pure function from what is known to what is to
be done.

`decide` reads no clock and no network and changes nothing; the same world gives the same
decisions. They are wishes: each is written by compare-and-set on the revision it was decided on,
so one made on old news is refused by the server and decided again on newer news. At most one write
a guild: the next one is decided on what this one leaves behind.

What happens to a guild depends on its owner: here (`moving`, `following`, `sources`), gone for good
(`promotion`), or neither known yet: then it waits for `suspicion`.
"""

from collections.abc import Iterable

import msgspec

from components.config.draft import Draft
from components.config.following import keep_follower
from components.config.moving import go_on_joining, move_away
from components.config.promotion import LOG_NEWS_S, still_before, succeed, succeed_unopened
from components.config.sources import shrunk
from components.config.standing import holder_of, standing
from components.config.world import Decisions, Held, LogFact, World
from contracts.ids import Epoch, GuildId
from contracts.records import Assignment, PodLease

OPENING_S = 2.0
"""An owner that has not opened a guild for so long leaves it without service, to people's eyes."""
LOG_EMPTY_S = 0.5
"""The shard registers a guild about when it appends its first input: look again soon."""
EMPTY_LOG_LOOKS = 4
"""Every look at a log that stays empty doubles the pause, this many times."""


def decide(world: World, guilds: Iterable[GuildId] | None = None) -> Decisions:
    """Decide about these guilds (None: all), in this order of urgency: who has no owner, who is
    served, who is new."""
    draft = Draft(world)
    chosen = world.assignments.keys() | world.registry.keys() if guilds is None else guilds
    new: list[GuildId] = []
    served: list[Held] = []
    for guild in sorted(chosen, key=int):
        held = world.assignments.get(guild)
        if held is None:
            draft.unbalance(guild, "nobody owns it")
            new.append(guild)
        elif _has_ended(world, held.assignment):
            draft.unbalance(guild, f"{held.assignment.pod}, which owned it, is gone")
            succeed(draft, held)
        else:
            served.append(held)
    for held in served:
        _keep(draft, held)
    for guild in new:
        _place(draft, guild)
    return draft.out


def _has_ended(world: World, owned: Assignment) -> bool:
    """Whether the epoch is over: its owner is gone, or has let go of it without a successor, as a
    pod does that leaves and finds nobody to move its guilds."""
    if world.evidence.has_released(owned.guild, owned.epoch):
        return True
    return standing(world, owned.pod, owned.incarnation) == "gone"


def _keep(draft: Draft, held: Held) -> None:
    """The owner is here, or nobody knows better."""
    owned = held.assignment
    state = standing(draft.world, owned.pod, owned.incarnation)
    if state == "away":
        draft.wait(owned.guild, owned.pod, f"{owned.pod} is away")
        return
    if state == "unknown":
        draft.wait(owned.guild, owned.pod, f"no news yet of the start of {owned.pod} that owns it")
        return
    lease = draft.world.pods[owned.pod].lease
    if lease is not None and lease.state == "starting":
        draft.wait(owned.guild, owned.pod, f"{owned.pod} is starting")
    since_s = draft.world.opening_since.get(owned.guild)
    if lease is not None and since_s is not None and draft.stale(owned.guild, since_s + OPENING_S):
        refusal = lease.refused.get(owned.guild)
        why = f"cannot serve it: {refusal}" if refusal else "has not opened it yet"
        draft.wait(owned.guild, owned.pod, f"{owned.pod} has it and {why}")
    if succeed_unopened(draft, held):
        return
    if owned.joining is not None and go_on_joining(draft, held, owned.joining):
        return
    if move_away(draft, held):
        return
    sources = shrunk(draft.world, held)
    before = still_before(draft, owned, sources)
    if sources != owned.sources or before != owned.before:
        changed = msgspec.structs.replace(owned, sources=sources, before=before)
        had = "its rows, and so has its backup" if sources != owned.sources else "outlived others"
        draft.write(held, changed, f"{owned.pod} has {had}")
        return
    if owned.sources and draft.world.now_s < draft.world.seen_from_s:
        draft.wake(owned.guild, draft.world.seen_from_s)
    keep_follower(draft, held)


def _place(draft: Draft, guild: GuildId) -> None:
    """Give a guild that nobody ever owned to the pod with the least to do, and a follower."""
    world = draft.world
    registered = world.registry.get(guild)
    if registered is None or not registered.present:
        return
    if guild in world.placed_before:
        draft.wait(
            guild,
            None,
            "history knows this guild but the bus does not: its state is on a pod's disk or in "
            "a backup, and serving it from nothing would lose it",
        )
        return
    pending = world.history_pending_until_s
    if pending is not None and world.now_s < pending:
        draft.wake(guild, pending)
        draft.wait(guild, None, "waiting for PostgreSQL to say whether it was ever placed")
        return
    if draft.room.shard_is_full(registered.shard):
        draft.out.postponed.append(guild)  # others may leave the shard, or it may go to another
        draft.wait(
            guild,
            None,
            f"shard {registered.shard} has {world.options.guilds_per_shard} guilds, Discord's "
            "limit: raise the number of shards (modbot ops reshard N)",
        )
        return
    owner = draft.room.owner(first=world.pins.get(guild))
    if owner is None:
        draft.wait(guild, None, draft.room.why_none())
        return
    fact = world.logs.get(guild)
    if fact is None or draft.stale(guild, fact.read_at_s + _believed_s(fact)):
        draft.out.look_up.append(guild)
        draft.wait(guild, None, "looking for its first input")
    elif fact.first is None:
        draft.wait(guild, None, "nothing is on its log yet")
    else:
        draft.room.added(registered.shard)
        _give_new(draft, guild, owner, fact)


def _give_new(draft: Draft, guild: GuildId, owner: PodLease, fact: LogFact) -> None:
    assert fact.first is not None  # asked before
    holder = holder_of(owner)
    follower = None
    if draft.world.options.followers:
        other = draft.room.follower(owner.pod)
        follower = holder_of(other) if other is not None else None
    reason = f"new; {owner.pod} has the least to do"
    assignment = Assignment(
        guild=guild,
        pod=holder.pod,
        incarnation=holder.incarnation,
        epoch=Epoch(1),
        first_sequence=fact.first,
        generation=fact.generation,
        cause="placed",
        since_ms=0,
        follower=follower,
    )
    draft.write(None, assignment, reason)
    draft.wait(guild, owner.pod, f"being placed: {reason}")


def _believed_s(fact: LogFact) -> float:
    if fact.first is not None:
        return LOG_NEWS_S
    return LOG_EMPTY_S * float(2 ** min(fact.looks - 1, EMPTY_LOG_LOOKS))
