"""What the machines ask of whoever drives them.

A command is carried out by its driver until it is done, however often that fails, unless a later
command of the same guild takes it back (`StopOwning` ends `AppendOpened`, `Serve` and
`CompareEnd`; `StopFollowing` ends `Build`). What must be told of its end names the method.
"""

from typing import Literal

import msgspec

from contracts.ids import Epoch, GuildId, PodId
from contracts.records import Assignment

Role = Literal["own", "follow"]
Source = Literal["log", "disk", "snapshot", "replica"]


class Permit(msgspec.Struct, frozen=True):
    """On whose behalf something is sent."""

    guild: GuildId
    epoch: Epoch


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all commands."""


class Renew(Command, frozen=True, kw_only=True):
    """Renew the pod's lease now: `PodMachine.renewed`, `renewal_failed` or `lease_lost`."""


class ReadAssignments(Command, frozen=True, kw_only=True):
    """Read the bucket's entries, from its leader, over connection ``link``:
    `PodMachine.assignments_read`."""

    link: int


class EndProcess(Command, frozen=True, kw_only=True):
    """The lease is gone for good: nothing is left to be done here."""

    reason: str


class GuildCommand(Command, frozen=True, kw_only=True):
    """Base of what is asked for one guild."""

    guild: GuildId


class Build(GuildCommand, frozen=True, kw_only=True):
    """Have the guild's rows here and apply its log, every output closed, also those of a `Refuse`
    before it: `PodMachine.built` once they are as new as the log was (an owner's may be older), or
    `not_built`."""

    assignment: Assignment


class StopFollowing(GuildCommand, frozen=True, kw_only=True):
    """Apply nothing more; the rows stay."""


class AwaitRequests(GuildCommand, frozen=True, kw_only=True):
    """Take the guild's requests, which wait until `Serve` or `Refuse`, or for `TurnAway`."""


class TurnAway(GuildCommand, frozen=True, kw_only=True):
    """Tell whoever waits since `AwaitRequests` to ask again: the guild is another pod's."""


class AppendOpened(GuildCommand, frozen=True, kw_only=True):
    """Append `OwnerOpened` and apply up to its acknowledgement: `PodMachine.caught_up`."""

    epoch: Epoch
    careful: bool
    """The owner before it crashed, and one of the next inputs may be the reason."""


class Serve(GuildCommand, frozen=True, kw_only=True):
    """Answer requests, publish facts, fire timers. Effects wait for `OpenEffects`."""

    epoch: Epoch


class Refuse(GuildCommand, frozen=True, kw_only=True):
    """Answer every request with the reason why the guild is not served."""

    epoch: Epoch
    reason: str


class CompareEnd(GuildCommand, frozen=True, kw_only=True):
    """Apply up to the end of the log as it is read from now on: `PodMachine.compared`."""

    epoch: Epoch
    ticket: int


class OpenEffects(GuildCommand, frozen=True, kw_only=True):
    """Effects may begin."""

    epoch: Epoch


class HoldEffects(GuildCommand, frozen=True, kw_only=True):
    """No effect begins until the next `OpenEffects`."""

    epoch: Epoch


class StopOwning(GuildCommand, frozen=True, kw_only=True):
    """Answer, append, publish and begin nothing more at this epoch, at once; requests that cannot
    be answered are told. Goes on as a follower. `PodMachine.effects_ended` once no request to
    Discord is under way."""

    epoch: Epoch


class WriteReleased(GuildCommand, frozen=True, kw_only=True):
    """Write ``released.<guild>`` over an older epoch's: `PodMachine.released_written`. ``to``: the
    next owner, who is told directly as well."""

    epoch: Epoch
    to: PodId | None = None


class WriteSilent(GuildCommand, frozen=True, kw_only=True):
    """Write ``silent.<guild>`` over an older epoch's: `PodMachine.silent_written`."""

    epoch: Epoch


class WriteHolds(GuildCommand, frozen=True, kw_only=True):
    """Write ``holds.<guild>.<pod>``; nothing waits for it here."""

    role: Role
    epoch: Epoch
    source: Source
    took_ms: int
    replayed: int
    joined_ms: int = 0
    """`Joining.since_ms` of what it answers."""
    soon: bool
    """A move waits for it: a follower's building, or the next turn to be taken over."""


class ConfirmDrop(GuildCommand, frozen=True, kw_only=True):
    """Delete ``holds.<guild>.<pod>``, and after the acknowledgement read the guild's assignment
    from the bucket's leader: `PodMachine.drop_confirmed`."""


class DropRows(GuildCommand, frozen=True, kw_only=True):
    """Delete the guild's rows: `PodMachine.dropped`."""


class Readopt(GuildCommand, frozen=True, kw_only=True):
    """Write the assignment at exactly ``revision``: `PodMachine.assignment_seen` if that won."""

    assignment: Assignment
    revision: int
