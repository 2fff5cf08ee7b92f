"""How a pod comes by the rows of a guild (docs/decisions/0006, step 19): from its own disk, from a
snapshot of the owner's, from a replica of a source, from the whole log.

Rows are used only if the log continues them. A restored replica is read once per pod and guild
here, and takes a while; a snapshot is asked for again when its maker goes away.
"""

from typing import TYPE_CHECKING, Literal

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

Source = Literal["log", "disk", "snapshot", "replica"]


async def build(pod: "Pod", guild: "Guild", assignment: Assignment) -> None:
    """Have the rows and apply the log; told to the machine."""
    machine = pod.machine
    assert machine is not None  # it asked

    def building() -> bool:
        known = machine.guilds.get(GuildId(guild.id))
        return known is not None and known.phase == "building"

    before = guild.rows.count if guild.rows is not None else 0
    while True:
        if not building():
            return
        named = machine.guilds[GuildId(guild.id)].assignment or assignment
        try:
            source = await _rows(pod, guild, named)
        except (NotConnected, Unanswered, NoResponder):
            await pod.process.sleep(AGAIN_S)
            continue
        if not building():
            return
        if source is None:
            reason = "no rows here, and none to be had that the log continues"
            pod.carry_out(machine.not_built(GuildId(guild.id), reason, pod.process.now_s()))
            pod.loop.seen["not built"] += 1
            await pod.process.sleep(AGAIN_S)
            continue
        guild.follow_log()
        try:
            last = await pod.link.ask(guild.log_end)
        except (NotConnected, Unanswered):
            await pod.process.sleep(AGAIN_S)
            continue
        await guild.applied_to(last)
        if not building():
            return
        rows = guild.rows
        count = rows.count - before if rows is not None else 0
        pod.carry_out(machine.built(GuildId(guild.id), source, count, pod.process.now_s()))
        return


def continued(pod: "Pod", up_to: int) -> bool:
    """Whether the log goes on behind a sequence: nothing in between has expired."""
    return pod.server.streams.first <= up_to + 1


async def _rows(pod: "Pod", guild: "Guild", named: Assignment) -> Source | None:
    streams = pod.server.streams
    rows = guild.rows
    if rows is not None and continued(pod, pod.disk.up_to(guild.id)):
        return "disk"
    ours = named.pod == pod.name and named.incarnation == pod.incarnation
    if not ours:
        return await _snapshot(pod, guild)
    replica = await _replica(pod, guild, named)
    if replica is not None:
        return replica
    first = await pod.link.ask(lambda: streams.logs[guild.id].first_kept())
    if first == named.first_sequence:
        pod.disk.rows[guild.id] = EMPTY
        return "log"
    return None


async def _snapshot(pod: "Pod", guild: "Guild") -> Source | None:
    """The owner's rows, taken while it goes on."""
    answer = Answer()

    def taken(rows: Rows) -> None:
        delay_s = pod.loop.between(*SNAPSHOT_S)
        pod.loop.after(delay_s, lambda: pod.process.receive(lambda: answer.give(rows)))

    await pod.link.request(f"snapshot.{guild.id}", taken)
    pod.process.timer(2.0, lambda: answer.give(None, Unanswered()))
    rows: Rows = await answer
    pod.disk.rows[guild.id] = rows
    return "snapshot"


async def _replica(pod: "Pod", guild: "Guild", named: Assignment) -> Source | None:
    """The best replica among the sources that the log continues."""
    backups = pod.cluster.backups
    if not any(source.replica for source in named.sources):
        return None
    await pod.process.sleep(pod.loop.between(*RESTORE_S))
    if not backups.up:
        raise Unanswered
    best: Rows | None = None
    for source in named.sources:
        replica = backups.replicas.get(source.replica)
        rows = replica.rows.get(guild.id) if replica is not None else None
        if rows is None or replica is None:
            continue
        if not continued(pod, replica.up_to(guild.id)):
            continue
        if best is None or rows.sequence > best.sequence:
            best = rows
    if best is None:
        return None
    if guild.rows is None or guild.rows.sequence < best.sequence:
        pod.disk.rows[guild.id] = best
    return "replica"
