"""Planned changes of a guild whose owner serves (docs/decisions/0006, steps 13 to 17).

The record ``joining`` alone says what is under way, so any leader goes on with it. A move to the
follower needs no joining: it has the rows. Each step is one write; the next one is decided on the
world that the write leaves behind.
"""

import msgspec

from components.config.draft import Draft, next_epoch
from components.config.promotion import before_of
from components.config.standing import holder_of, serving, standing
from components.config.world import Held, MoveCause, Wanted
from contracts.ids import PodId
from contracts.records import Assignment, Holder, Joining, PodLease


def go_on_joining(draft: Draft, held: Held, joining: Joining) -> bool:
    """Go on with what is under way; True when it was decided about."""
    owned, world = held.assignment, draft.world
    target = Holder(pod=joining.pod, incarnation=joining.incarnation)
    joined = draft.has_joined(owned.guild, joining)
    given_up = _given_up(draft, owned, joining)
    if not given_up and not joined:
        given_up = draft.overdue(owned.guild, joining)
    if given_up:
        draft.write(held, msgspec.structs.replace(owned, joining=None), given_up)
        wanted = world.wanted.get(owned.guild)
        if wanted is not None and wanted.pod == joining.pod:
            draft.out.settled[owned.guild] = given_up
        return True
    if not joined:
        draft.lack(owned.guild, f"{joining.pod} is building its rows, to {_purpose(joining)}")
        return joining.purpose == "own"
    if joining.purpose == "own":
        hand_over(draft, held, target, joining.cause, joining.by, f"{joining.pod} has its rows")
        return True
    followed = msgspec.structs.replace(owned, follower=target, joining=None)
    draft.write(held, followed, f"{joining.pod} follows")
    return True


def move_away(draft: Draft, held: Held) -> bool:
    """Move the guild off an owner that is to be empty, to where it is pinned, or to where it is
    wanted; True when it was decided about."""
    owned, world = held.assignment, draft.world
    wanted = world.wanted.get(owned.guild)
    pin = world.pins.get(owned.guild)
    if wanted is not None and wanted.purpose == "own":
        if wanted.pod == owned.pod:
            draft.out.settled[owned.guild] = ""
            wanted = None
        elif pin is not None and pin != wanted.pod:
            draft.out.settled[owned.guild] = f"it is pinned to {pin}"
            wanted = None
    if owned.pod in world.draining or _leaves(draft, owned.pod):
        return _drain(draft, held, pin)
    if owned.joining is not None:
        return False
    if pin is not None and pin != owned.pod:
        return _move(draft, held, _wish(draft, held, pin, "pinned"))
    if wanted is None or wanted.purpose != "own":
        return False
    return _move(draft, held, wanted)


def hand_over(
    draft: Draft, held: Held, new: Holder, cause: MoveCause, by: str, reason: str
) -> None:
    """The decision: the next epoch is the other's, which has the rows. The old owner follows,
    unless it is to be empty or another one follows already, from as good a zone."""
    owned, world = held.assignment, draft.world
    if not draft.room.may_open(new.pod):
        draft.out.postponed.append(owned.guild)
        draft.lack(owned.guild, f"waits for its turn to be taken over by {new.pod}")
        return
    assert cause != "followed"  # who is to own was asked for as a move
    former = Holder(pod=owned.pod, incarnation=owned.incarnation)
    other = owned.follower if owned.follower is not None and owned.follower.pod != new.pod else None
    if world.options.followers == 0:
        follower = None
    else:
        follower = former if _former_follows(draft, owned, other, new) else other
    changed = next_epoch(
        held,
        pod=new.pod,
        incarnation=new.incarnation,
        cause=cause,
        follower=follower,
        joining=None,
        before=before_of(world, owned),
    )
    draft.write(held, msgspec.structs.replace(changed, by=by), reason)


def join(draft: Draft, held: Held, wanted: Wanted, target: PodLease) -> None:
    """Let a pod build the guild's rows, when its budget allows."""
    owned = held.assignment
    joins_already = owned.joining is not None and owned.joining.pod == target.pod
    if not joins_already and not draft.room.may_join(target.pod):
        draft.out.postponed.append(owned.guild)
        draft.lack(owned.guild, f"waits for its turn to be built by {target.pod}")
        return
    holder = holder_of(target)
    joining = Joining(
        pod=holder.pod,
        incarnation=holder.incarnation,
        purpose=wanted.purpose,
        cause=wanted.cause,
        by=wanted.by,
    )
    draft.write(held, msgspec.structs.replace(owned, joining=joining), wanted.reason)


def _drain(draft: Draft, held: Held, pin: PodId | None) -> bool:
    owned, room = held.assignment, draft.room
    draft.unbalance(owned.guild, f"{owned.pod} is to be empty")
    if pin == owned.pod and not _leaves(draft, owned.pod):
        draft.lack(owned.guild, f"it is pinned to {pin}, which is to be empty: unpin it")
        return False
    unfit = draft.unfit(owned.guild)
    if pin is not None and (pin in unfit or not room.takes(pin)):
        pin = None  # it goes there when the pod takes it (again)
    follower = owned.follower
    holds = draft.holds(owned.guild, follower)
    if pin is None and follower is not None and holds and room.takes(follower.pod):
        by = draft.world.askers.get(f"pod.{owned.pod}", "")
        hand_over(draft, held, follower, "drained", by, f"{owned.pod} is to be empty")
        return True
    # Who is being made its follower has most of the work behind it.
    preferred = pin or (owned.joining.pod if owned.joining is not None else None)
    target = room.target(without={owned.pod, *unfit}, first=preferred)
    if target is None:
        draft.out.postponed.append(owned.guild)
        why_none = draft.did_not_build(unfit) if unfit else room.why_none()
        draft.lack(owned.guild, f"{owned.pod} is to be empty, but {why_none}")
        return False
    return _move(draft, held, _wish(draft, held, target.pod, "drained"))


def _move(draft: Draft, held: Held, wanted: Wanted) -> bool:
    owned, world = held.assignment, draft.world
    target = serving(world, wanted.pod)
    follower = owned.follower if draft.holds(owned.guild, owned.follower) else None
    promotes = follower is not None and follower.pod == wanted.pod
    asked = world.wanted.get(owned.guild)
    again = asked is wanted and wanted.cause == "moved"  # a person has asked once more
    why_not = ""
    if target is None:
        why_not = f"{wanted.pod} does not take guilds now"
    elif not draft.room.takes(wanted.pod):
        why_not = f"{wanted.pod} is at its capacity of {target.capacity} guilds"
    elif not (promotes or again) and wanted.pod in draft.unfit(owned.guild):
        why_not = draft.did_not_build({wanted.pod})
    if why_not:
        draft.lack(owned.guild, f"it is to move, but {why_not}")
        if asked is not None and asked.purpose == "own" and asked.pod == wanted.pod:
            draft.out.settled[owned.guild] = why_not
        if asked is not wanted and target is not None:
            draft.out.postponed.append(owned.guild)
        return False
    assert target is not None  # else it said why not
    if promotes and follower is not None:
        hand_over(draft, held, follower, wanted.cause, wanted.by, wanted.reason)
    else:
        join(draft, held, wanted, target)
    return True


def _given_up(draft: Draft, owned: Assignment, joining: Joining) -> str:
    """Why what is under way is given up; "" when it is not."""
    world = draft.world
    state = standing(world, joining.pod, joining.incarnation)
    if state in ("gone", "away"):
        return f"{joining.pod} is gone"
    target = serving(world, joining.pod)
    if target is None and state == "here":
        return f"{joining.pod} does not take guilds any more"
    if joining.purpose == "follow":
        if world.options.followers == 0:
            return "followers are switched off"
        return f"{joining.pod} owns it" if joining.pod == owned.pod else ""
    if target is not None and draft.room.is_full(target):
        return f"{joining.pod} is at its capacity of {target.capacity} guilds"
    leaves = _leaves(draft, owned.pod)
    if joining.cause == "drained" and not leaves and owned.pod not in world.draining:
        return f"{owned.pod} is not to be empty any more"
    pin = world.pins.get(owned.guild)
    if joining.cause == "pinned" and pin is None:
        return "it is not pinned any more"
    if pin is None or pin == joining.pod or (pin == owned.pod and leaves):
        return ""
    takes = draft.room.takes(pin) and pin not in draft.unfit(owned.guild)
    if joining.cause == "drained" and pin != owned.pod and not takes:
        return ""  # it goes where the drain found room, and to its pin from there
    return f"it is pinned to {pin}"


def _former_follows(draft: Draft, owned: Assignment, other: Holder | None, new: Holder) -> bool:
    """Whether the old owner follows the new one, and not who has followed so far."""
    if owned.pod in draft.world.draining:
        return False
    if other is None or not draft.holds(owned.guild, other):
        return True
    if _leaves(draft, owned.pod):
        return False
    room = draft.room
    return room.share_zone(other.pod, new.pod) and not room.share_zone(owned.pod, new.pod)


def _leaves(draft: Draft, pod: PodId) -> bool:
    """Whether the pod ends (SIGTERM). What an operator wants empty stays."""
    lease = draft.world.pods[pod].lease
    return lease is not None and lease.state == "draining"


def _wish(draft: Draft, held: Held, pod: PodId, cause: MoveCause) -> Wanted:
    owned = held.assignment
    key = f"guild.{owned.guild}" if cause == "pinned" else f"pod.{owned.pod}"
    reason = f"it is pinned to {pod}" if cause == "pinned" else f"{owned.pod} is to be empty"
    return Wanted(
        guild=owned.guild,
        pod=pod,
        purpose="own",
        cause=cause,
        by=draft.world.askers.get(key, ""),
        reason=reason,
    )


def _purpose(joining: Joining) -> str:
    return "own it" if joining.purpose == "own" else "follow"
