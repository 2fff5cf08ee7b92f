"""Who goes on with a guild whose owner can never renew again, or has let go of it without a
successor (docs/decisions/0006, step 11).

Its follower, if it has the rows; else a pod that is back with a disk that has them; else, at once,
a pod with room, which restores the rows from a replica or rebuilds them from the whole log. Else
the guild waits, and says for what.

A follower is promoted whatever its capacity: it applies the guild's log already.
"""

from typing import Literal

from components.config.draft import Draft, next_epoch
from components.config.index import is_open
from components.config.sources import where_rows_are
from components.config.standing import holder_of
from components.config.world import KEPT_S, Held, LogFact, World
from contracts.records import Assignment, EarlierOwner, Holder, PodLease, StateSource

LOG_NEWS_S = 5.0
"""How long it may be believed that the log still holds an input: retention moves on."""
LOG_GAP_S = 60.0
"""An input that is gone does not come back; it is looked for again only because a person might
have restored the stream."""

Cause = Literal["restarted", "replaced", "promoted", "restored"]


def succeed(draft: Draft, held: Held) -> None:
    """Give the guild to whoever can go on soonest."""
    owned = held.assignment
    if (candidate := _follows(draft, owned)) is not None:
        reason = f"{owned.pod} is gone; {candidate.pod} has followed"
        return _give(draft, held, candidate, "promoted", reason)
    sources = where_rows_are(draft.world, owned)
    if (back := _come_back(draft, held, sources)) is not None:
        if back.state == "draining":
            return draft.wait(owned.guild, owned.pod, f"{back.pod} has its rows and is leaving")
        same = back.pod == owned.pod
        reason = f"{back.pod} has started anew and goes on"
        return _give(draft, held, holder_of(back), "restarted" if same else "promoted", reason)
    return _elsewhere(draft, held, sources)


def succeed_unopened(draft: Draft, held: Held) -> bool:
    """Give the guild to its follower, which has the rows, when its owner is here but does not
    come to open it; True when it was."""
    owned, world = held.assignment, draft.world
    since_s = world.opening_since.get(owned.guild)
    if since_s is None or owned.follower is None or not draft.holds(owned.guild, owned.follower):
        return False
    # A leader that has just begun, or was without NATS, has not seen how long it really took.
    until_s = max(since_s, world.judge_from_s) + world.options.open_within_s
    if not draft.stale(owned.guild, until_s):
        return False
    reason = f"{owned.pod} has not opened it for {world.options.open_within_s:g} s"
    lease = world.pods[owned.pod].lease
    if lease is not None and (refusal := lease.refused.get(owned.guild)):
        reason = f"{owned.pod} cannot serve it: {refusal}"
    _give(draft, held, owned.follower, "promoted", reason)
    return True


def before_of(world: World, former: Assignment) -> list[EarlierOwner]:
    """Owners of earlier epochs that are not known to be silent when ``former`` is succeeded."""
    start = world.starts.get((former.pod, former.incarnation))
    last = EarlierOwner(
        pod=former.pod,
        incarnation=former.incarnation,
        epoch=former.epoch,
        process=start.process if start is not None else "",
    )
    return [
        earlier
        for earlier in (*former.before, last)
        if not world.evidence.silent(former.guild, earlier, world.now_s)
    ]


def still_before(draft: Draft, owned: Assignment, sources: list[StateSource]) -> list[EarlierOwner]:
    """``before`` without the pods that are gone for good, so that nothing keeps their fences;
    ``sources``: those that are still needed.

    The same epoch goes on with it, and acts no earlier than it may: it is open, so what opening
    asks of earlier owners is answered, and whoever is left out is silent by the proofs that
    effects wait for, which stay true however late this is written. Nobody is left out whose disk
    may have rows that the owner lacks: it is still asked for them.
    """
    if not is_open(owned, draft.world.holds.get(owned.guild, {}).get(owned.pod)):
        return owned.before
    held = {source.pod for source in sources}
    return [x for x in owned.before if x.pod in held or not _gone_for_good(draft, owned, x)]


def _gone_for_good(draft: Draft, owned: Assignment, earlier: EarlierOwner) -> bool:
    """Whether the pod was away for `KEPT_S`, and its epoch's owner is silent."""
    known, evidence = draft.world.pods.get(earlier.pod), draft.world.evidence
    if known is None or known.away_since_s is None:
        return False
    since_s = max(known.away_since_s + KEPT_S, evidence.silent_from_s(earlier) or 0.0)
    if not draft.stale(owned.guild, since_s):
        return False
    return bool(evidence.silent(owned.guild, earlier, draft.world.now_s))


def _follows(draft: Draft, owned: Assignment) -> Holder | None:
    """The pod that applies the guild's log already."""
    if draft.holds(owned.guild, owned.follower):
        return owned.follower
    joining = owned.joining
    if joining is not None and draft.has_joined(owned.guild, joining):
        return Holder(pod=joining.pod, incarnation=joining.incarnation)
    return None


def _come_back(draft: Draft, held: Held, sources: list[StateSource]) -> PodLease | None:
    """A pod that is here with a disk that has the rows, the owner's own first. An owner that
    never had them yet gets the guild again too."""
    for source in sources:
        for pod in draft.world.pods.values():
            lease = pod.here
            if lease is not None and not pod.fenced and source.data == lease.data:
                return lease
    known = draft.world.pods.get(held.assignment.pod)
    lease = known.here if known is not None and not known.fenced else None
    return lease if lease is not None and not sources else None


def _elsewhere(draft: Draft, held: Held, sources: list[StateSource]) -> None:
    owned, room, world = held.assignment, draft.room, draft.world
    replicas = any(source.replica for source in sources)
    fact = world.logs.get(owned.guild)
    follower = owned.follower.pod if owned.follower is not None else None
    pod = room.owner(first=follower)
    if not replicas and not _log_is_known(draft, owned, fact, believed=pod is not None):
        draft.out.look_up.append(owned.guild)
        return draft.wait(
            owned.guild, owned.pod, f"{owned.pod} is gone; looking at what the log still holds"
        )
    if not replicas:
        assert fact is not None  # it is known
        if fact.generation != owned.generation:
            why = "the log was made anew since the guild was placed"
            return draft.wait(
                owned.guild, owned.pod, f"{why}; waiting for {owned.pod} to come back"
            )
        if fact.first != owned.first_sequence:
            why = "its first input is no longer on the log and no backup has its rows"
            return draft.wait(
                owned.guild, owned.pod, f"{why}; waiting for {owned.pod} to come back"
            )
    if pod is None:
        return draft.wait(owned.guild, owned.pod, f"{owned.pod} is gone and {room.why_none()}")
    if replicas:
        reason = f"{owned.pod} is gone; {pod.pod} restores its rows"
        return _give(draft, held, holder_of(pod), "restored", reason)
    reason = f"{owned.pod} is gone; {pod.pod} rebuilds it from the log"
    return _give(draft, held, holder_of(pod), "replaced", reason)


def _log_is_known(draft: Draft, owned: Assignment, fact: LogFact | None, *, believed: bool) -> bool:
    if fact is None:
        return False
    whole = fact.first == owned.first_sequence and fact.generation == owned.generation
    until_s = fact.read_at_s + (LOG_NEWS_S if whole and believed else LOG_GAP_S)
    return not draft.stale(owned.guild, until_s)


def _give(draft: Draft, held: Held, new: Holder, cause: Cause, reason: str) -> None:
    owned = held.assignment
    follower = owned.follower
    if follower is not None and follower.pod == new.pod:
        follower = None
    joining = owned.joining
    if joining is not None and (joining.purpose == "own" or joining.pod == new.pod):
        joining = None
    assignment = next_epoch(
        held,
        pod=new.pod,
        incarnation=new.incarnation,
        cause=cause,
        follower=follower,
        joining=joining,
        before=before_of(draft.world, owned),
    )
    draft.write(held, assignment, reason)
    draft.wait(owned.guild, new.pod, f"being assigned: {reason}")
