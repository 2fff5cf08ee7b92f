"""Every guild has a follower on another pod, where another pod serves (docs/decisions/0006, steps
18 and 19): a lost one is replaced within a budget, at first by a pod whose disk has the rows."""

import msgspec

from components.config.draft import Draft
from components.config.moving import join
from components.config.sources import has_rows, where_rows_are
from components.config.standing import holder_of, serving, standing
from components.config.world import Held, Wanted
from contracts.ids import PodId
from contracts.records import Assignment, Holder, PodLease


def keep_follower(draft: Draft, held: Held) -> bool:
    """Find, keep or replace the follower; True when something is written."""
    owned, world = held.assignment, draft.world
    follower = owned.follower
    if world.options.followers == 0:
        wanted = world.wanted.get(owned.guild)
        if wanted is not None and wanted.purpose == "follow":
            draft.out.settled[owned.guild] = "followers are switched off"
        return follower is not None and _unfollow(draft, held, "followers are off")
    if follower is not None and follower.pod == owned.pod:
        return _unfollow(draft, held, "an owner does not follow itself")
    if follower is not None:
        state = standing(world, follower.pod, follower.incarnation)
        if state == "unknown":
            return False
        if state != "here":
            return _follower_lost(draft, held, follower)
        if not draft.holds(owned.guild, follower):
            draft.lack(owned.guild, f"{follower.pod} is building its rows, to follow")
        wanted = _wanted(draft, owned)
        if wanted is not None and wanted.pod != follower.pod:
            return _join_wanted(draft, held, wanted)
        if follower.pod in world.draining:
            return _find(draft, held, f"{follower.pod} is to be empty", without={follower.pod})
        return False
    if owned.joining is not None:
        return False
    return _find(draft, held, "it has no follower", without=set())


def _follower_lost(draft: Draft, held: Held, follower: Holder) -> bool:
    """The follower's start is over: the pod goes on following from its disk when it is back;
    when it stays away, or comes back without the disk, another one follows."""
    owned, world = held.assignment, draft.world
    known = world.pods.get(follower.pod)
    lease = known.here if known is not None else None
    holding = world.holds.get(owned.guild, {}).get(follower.pod)
    back = lease is not None and known is not None and not known.fenced
    if back and lease is not None and (holding is None or holding.data == lease.data):
        again = holder_of(lease)
        if again == follower:
            return False
        changed = msgspec.structs.replace(owned, follower=again)
        draft.write(held, changed, f"{follower.pod} has started anew and follows on")
        return True
    if not back and _in_grace(draft, owned, follower.pod):
        draft.lack(owned.guild, f"its follower {follower.pod} is gone; waiting for it to be back")
        return False
    return _unfollow(draft, held, f"its follower {follower.pod} is gone")


def _unfollow(draft: Draft, held: Held, reason: str) -> bool:
    draft.write(held, msgspec.structs.replace(held.assignment, follower=None), reason)
    return True


def _find(draft: Draft, held: Held, why: str, *, without: set[PodId]) -> bool:
    """Let another pod join as the follower."""
    owned = held.assignment
    if owned.joining is not None:
        return False
    avoided = without | draft.unfit(owned.guild)
    target = _with_rows(draft, owned, avoided)
    if target is None:
        for source in owned.sources:
            if source.pod not in {owned.pod, *avoided} and _in_grace(draft, owned, source.pod):
                draft.lack(owned.guild, f"{why}; waiting for {source.pod}, which has its rows")
                return False
        target = draft.room.follower(owned.pod, without=avoided)
    if target is None:
        unfit = avoided - without
        if draft.room.is_alone(owned.pod):
            none = "there is no other pod that serves"
        elif unfit:
            none = draft.did_not_build(unfit)
        else:
            none = "the other pods follow as many guilds as they may: start another pod"
            draft.out.postponed.append(owned.guild)
        draft.lack(owned.guild, f"{why}, and {none}")
        draft.unbalance(owned.guild, none)
        asked = draft.world.wanted.get(owned.guild)
        if asked is not None and asked.purpose == "follow":
            draft.out.settled[owned.guild] = none
        return False
    wanted = Wanted(
        guild=owned.guild,
        pod=target.pod,
        purpose="follow",
        cause="drained" if without else "followed",
        reason=why,
    )
    join(draft, held, wanted, target)
    return True


def _with_rows(draft: Draft, owned: Assignment, without: set[PodId]) -> PodLease | None:
    sources = where_rows_are(draft.world, owned)
    for source in sources:
        lease = serving(draft.world, source.pod)
        if lease is None or lease.pod == owned.pod or lease.pod in without:
            continue
        if has_rows(lease, sources):
            return lease
    return None


def _in_grace(draft: Draft, owned: Assignment, pod: PodId) -> bool:
    """Whether the pod may be back soon. Asks to be asked again when not any more."""
    known = draft.world.pods.get(pod)
    if known is None or pod in draft.world.draining:
        return False
    since_s = known.away_since_s
    if since_s is None:  # it is here, or starting
        return known.lease is None or known.lease.incarnation is None
    return not draft.stale(owned.guild, since_s + draft.world.options.grace_s)


def _wanted(draft: Draft, owned: Assignment) -> Wanted | None:
    wanted = draft.world.wanted.get(owned.guild)
    if wanted is None or wanted.purpose != "follow":
        return None
    if owned.follower is not None and owned.follower.pod == wanted.pod:
        draft.out.settled[owned.guild] = ""
        return None
    return wanted


def _join_wanted(draft: Draft, held: Held, wanted: Wanted) -> bool:
    owned = held.assignment
    target = serving(draft.world, wanted.pod)
    if target is None or target.pod == owned.pod:
        draft.out.settled[owned.guild] = f"{wanted.pod} does not follow guilds now"
        return False
    if wanted.cause == "rebalanced" and wanted.pod in draft.unfit(owned.guild):
        draft.out.settled[owned.guild] = draft.did_not_build({wanted.pod})
        return False
    if owned.joining is None:
        join(draft, held, wanted, target)
        return True
    return False
