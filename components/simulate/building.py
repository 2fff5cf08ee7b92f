"""How a pod comes by the rows of a guild (docs/decisions/0006, step 19), as
`components.gateway.shell.building` does: from its own disk, from a snapshot of another pod's, from
a replica of a source, from the whole log.

Rows are used only if the log continues them. A build that the machine has taken back ends without
a trace.
"""

from typing import TYPE_CHECKING

import msgspec

from components.gateway.ownership.commands import Source
from components.simulate.link import NoResponder, NotConnected, Unanswered
from components.simulate.streams import EMPTY, Rows
from components.simulate.tasks import Answer
from contracts.ids import GuildId
from contracts.records import Assignment

if TYPE_CHECKING:
    from components.simulate.guild import Guild
    from components.simulate.pod import Pod

AGAIN_S = 0.3
RESTORE_S = (0.3, 2.0)
SNAPSHOT_S = (0.005, 0.1)


class Found(msgspec.Struct, frozen=True):
    """Rows, and up to which sequence of the stream they are complete."""

    source: Source
    rows: Rows
    complete: int


class Snapshot(msgspec.Struct, frozen=True):
    """What an owner sends to who is to hold the rows, too."""

    rows: Rows
    complete: int


async def build(pod: "Pod", guild: "Guild", assignment: Assignment) -> None:
    """Have the rows and apply the log; told to the machine."""
    machine = pod.machine
    assert machine is not None  # it asked
    guild.builds += 1
    number = guild.builds

    def taken_back() -> bool:
        return guild.builds != number or machine.guilds[GuildId(guild.id)].phase != "building"

    while not taken_back():
        named = machine.guilds[GuildId(guild.id)].assignment or assignment
        try:
            found = await _find(pod, guild, named)
            if taken_back():
                return
            if found is None:
                reason = "no rows here, and none to be had that the log continues"
                not_built(pod, guild, reason)
                return
            if found.source != "disk":
                pod.disk.rows[guild.id] = found.rows
                pod.disk.complete[guild.id] = found.complete
            guild.hole = False
            guild.held_from = max(named.first_sequence, pod.disk.complete.get(guild.id, 0) + 1)
            guild.follow_log()
            if named.pod != pod.name:  # an owner's barrier is its `OwnerOpened`
                await guild.applied_to(await pod.link.ask(guild.log_end))
                if guild.hole and not taken_back():
                    pod.loop.seen["hole while it was built"] += 1
                    guild.leave_log()
                    await pod.process.sleep(AGAIN_S)
                    continue
                guild.held_from = None
        except (NotConnected, Unanswered, NoResponder):
            await pod.process.sleep(AGAIN_S)
            continue
        if not taken_back():
            count = guild.rows.count - found.rows.count if guild.rows is not None else 0
            now_s = pod.process.now_s()
            pod.carry_out(machine.built(GuildId(guild.id), found.source, count, now_s))
        return


def not_built(pod: "Pod", guild: "Guild", reason: str) -> None:
    """Tell the machine that what can be had of the rows is not continued by the log."""
    assert pod.machine is not None  # it asked
    pod.loop.seen["not built"] += 1
    pod.carry_out(pod.machine.not_built(GuildId(guild.id), reason, pod.process.now_s()))


async def _find(pod: "Pod", guild: "Guild", named: Assignment) -> Found | None:
    streams = pod.server.streams
    if guild.rows is not None and _continued(pod, pod.disk.up_to(guild.id)):
        return Found("disk", guild.rows, 0)
    first = await pod.link.ask(lambda: streams.logs[guild.id].first_kept())
    whole = first == named.first_sequence
    if named.pod == pod.name and named.incarnation == pod.incarnation:
        if not whole or named.epoch > 1:
            for holder in _holders(pod, named):
                try:
                    return await _snapshot(pod, guild, f"snapshot.{holder}.{guild.id}")
                except (Unanswered, NoResponder):
                    continue
        if (replica := await _replica(pod, guild, named)) is not None:
            return replica
    else:
        try:
            return await _snapshot(pod, guild, f"snapshot.{guild.id}")
        except (NotConnected, Unanswered, NoResponder):
            if not whole:
                raise
    return Found("log", EMPTY, 0) if whole else None


def _continued(pod: "Pod", up_to: int) -> bool:
    """Whether the log goes on behind a sequence: nothing in between has expired."""
    return pod.server.streams.first <= up_to + 1


def _holders(pod: "Pod", named: Assignment) -> list[str]:
    """Who else is named and may have the rows."""
    holders = [named.follower.pod] if named.follower is not None else []
    holders += [earlier.pod for earlier in reversed(named.before)]
    return [holder for holder in dict.fromkeys(holders) if holder != pod.name]


async def _snapshot(pod: "Pod", guild: "Guild", subject: str) -> Found:
    """Another pod's rows, taken while it goes on."""
    answer = Answer()

    def taken(snapshot: Snapshot) -> None:
        delay_s = pod.loop.between(*SNAPSHOT_S)
        pod.loop.after(delay_s, lambda: pod.process.receive(lambda: answer.give(snapshot)))

    await pod.link.request(subject, taken)
    pod.process.timer(2.0, lambda: answer.give(None, Unanswered()))
    snapshot: Snapshot = await answer
    return Found("snapshot", snapshot.rows, snapshot.complete)


async def _replica(pod: "Pod", guild: "Guild", named: Assignment) -> Found | None:
    """The best replica among the sources that the log continues."""
    backups = pod.cluster.backups
    if not any(source.replica for source in named.sources):
        return None
    await pod.process.sleep(pod.loop.between(*RESTORE_S))
    if not backups.up:
        raise Unanswered
    best: Found | None = None
    for source in named.sources:
        replica = backups.replicas.get(source.replica)
        if replica is None or guild.id not in replica.rows:
            continue
        rows, complete = replica.rows[guild.id], replica.up_to(guild.id)
        if _continued(pod, complete) and (best is None or rows.sequence > best.rows.sequence):
            best = Found("replica", rows, complete)
    return best
