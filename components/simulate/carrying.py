"""How a pod's shell carries out what its machine asks for; `CARRY_OUT` is the table.

Each function begins something that goes on by itself and reports its end to the machine. What
fails for the bus's sake is tried again, unless a later command has taken it back.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from components.gateway.ownership import commands as ask
from components.gateway.ownership.commands import Command
from components.gateway.ownership.pod import PodMachine
from components.simulate import building
from components.simulate.kv import WrongRevision
from components.simulate.link import NoResponder, NotConnected, Unanswered
from contracts import storage
from contracts.ids import GuildId, Incarnation, PodId, Sequence
from contracts.records import Assignment, Holding, Released, Silent

if TYPE_CHECKING:
    from components.simulate.pod import Pod

AGAIN_S = 0.1


def _say(pod: "Pod", command: Command) -> None:
    pod.loop.say(pod.process.name, repr(command))


def renew(pod: "Pod", command: ask.Renew) -> None:
    pod.process.start(pod.renew())


def end_process(pod: "Pod", command: ask.EndProcess) -> None:
    _say(pod, command)
    pod.loop.seen["pod ends: " + command.reason] += 1
    pod.process.end()


def read_assignments(pod: "Pod", command: ask.ReadAssignments) -> None:
    async def read() -> None:
        machine = pod.machine
        assert machine is not None  # it asked
        try:
            entries, end = await pod.link.read_all(storage.GUILDS)
        except (NotConnected, Unanswered):
            await pod.process.sleep(0.05)
            pod.carry_out(machine.not_read(command.link))
            return
        shown = {
            GuildId(key): (
                entry.value if isinstance(entry.value, Assignment) else None,
                entry.revision,
            )
            for key, entry in entries.items()
        }
        now_s = pod.process.now_s()
        pod.carry_out(machine.assignments_read(command.link, shown, now_s, end=end))

    pod.process.start(read())


def build(pod: "Pod", command: ask.Build) -> None:
    _say(pod, command) if pod.loop.tracing else None
    pod.process.start(building.build(pod, pod.guild(command.guild), command.assignment))


def stop_following(pod: "Pod", command: ask.StopFollowing) -> None:
    guild = pod.guild(command.guild)
    guild.builds += 1
    guild.leave_log()


def keep_waiting(pod: "Pod", command: ask.AwaitRequests | ask.TurnAway) -> None:
    """Callers here ask again until they are answered, which comes to the same."""
    _say(pod, command)


def _acts(machine: PodMachine, command: ask.AppendOpened | ask.CompareEnd) -> bool:
    """Whether the pod still acts for the guild at that epoch; it may have dropped it meanwhile."""
    known = machine.guilds.get(command.guild)
    return known is not None and known.acting == command.epoch


def append_opened(pod: "Pod", command: ask.AppendOpened) -> None:
    _say(pod, command)

    async def opened() -> None:
        machine, guild = pod.machine, pod.guild(command.guild)
        assert machine is not None  # it asked
        before = guild.rows.count if guild.rows is not None else 0
        number = 0
        while _acts(machine, command):
            number += 1
            name = f"opened:{command.guild}:{command.epoch}:{pod.incarnation}:{number}"
            try:
                if not pod.may_act(guild, command.epoch):
                    await pod.process.sleep(0.05)
                    continue
                stored = await pod.link.append(command.guild, "opened", name, epoch=command.epoch)
            except (NotConnected, Unanswered):
                await pod.process.sleep(AGAIN_S)
                continue
            pod.judge.owner_opened(command.guild, command.epoch, pod.process.name)
            await guild.applied_to(stored)
            guild.held_from = None
            if guild.hole:
                building.not_built(pod, guild, "the log lost some of it while it was opened")
                return
            rows = guild.rows
            count = rows.count - before if rows is not None else 0
            now_s = pod.process.now_s()
            pod.carry_out(machine.caught_up(command.guild, command.epoch, count, now_s))
            return

    pod.process.start(opened())


def serve(pod: "Pod", command: ask.Serve) -> None:
    _say(pod, command)
    guild = pod.guild(command.guild)
    pod.cluster.watcher.opened(command.guild, command.epoch)
    guild.serve(command.epoch)


def refuse(pod: "Pod", command: ask.Refuse) -> None:
    _say(pod, command)
    pod.loop.seen["refused"] += 1


def compare_end(pod: "Pod", command: ask.CompareEnd) -> None:
    async def compare() -> None:
        machine, guild = pod.machine, pod.guild(command.guild)
        assert machine is not None  # it asked
        while _acts(machine, command):
            try:
                last = await pod.link.ask(guild.log_end)
            except (NotConnected, Unanswered):
                await pod.process.sleep(AGAIN_S)
                continue
            await guild.applied_to(last)
            now_s = pod.process.now_s()
            pod.carry_out(machine.compared(command.guild, command.ticket, now_s))
            return

    pod.process.start(compare())


def open_effects(pod: "Pod", command: ask.OpenEffects) -> None:
    _say(pod, command)
    pod.loop.seen["effects open"] += 1
    pod.judge.may_send(command.guild)
    pod.guild(command.guild).release()


def hold_effects(pod: "Pod", command: ask.HoldEffects) -> None:
    pod.loop.seen["effects held again"] += 1
    pod.guild(command.guild).hold()


def stop_owning(pod: "Pod", command: ask.StopOwning) -> None:
    _say(pod, command)
    guild = pod.guild(command.guild)
    guild.silence()
    if guild.lane != command.epoch:
        pod.process.timer(0.0, lambda: pod.effects_ended(guild, command.epoch))


def write_released(pod: "Pod", command: ask.WriteReleased) -> None:
    _say(pod, command)
    value = Released(
        guild=command.guild,
        epoch=command.epoch,
        sequence=Sequence(pod.guild(command.guild).sequence),
        pod=PodId(pod.name),
        incarnation=Incarnation(pod.incarnation),
    )
    if command.to is not None:
        pod.process.start(_tell(pod, f"released.{command.to}", value))
    pod.process.start(_hand_off(pod, f"released.{command.guild}", value))


def write_silent(pod: "Pod", command: ask.WriteSilent) -> None:
    _say(pod, command)
    value = Silent(
        guild=command.guild,
        epoch=command.epoch,
        pod=PodId(pod.name),
        incarnation=Incarnation(pod.incarnation),
    )
    pod.process.start(_hand_off(pod, f"silent.{command.guild}", value))


async def _tell(pod: "Pod", subject: str, value: Released) -> None:
    """Once and directly; whoever does not hear it sees the bucket."""
    try:
        await pod.link.request(subject, value)
    except (NoResponder, NotConnected, Unanswered):
        pod.loop.seen["released, not told"] += 1


async def _hand_off(pod: "Pod", key: str, value: Released | Silent) -> None:
    machine = pod.machine
    assert machine is not None  # it asked
    while True:
        try:
            entry = await pod.link.read(storage.HANDOFFS, key)
            known = entry.value if entry is not None else None
            revision = entry.revision if entry is not None else 0
            if not isinstance(known, (Released, Silent)) or known.epoch < value.epoch:
                await pod.link.write(storage.HANDOFFS, key, value, revision)
            break
        except WrongRevision:
            continue
        except (NotConnected, Unanswered):
            await pod.process.sleep(AGAIN_S)
    now_s = pod.process.now_s()
    if isinstance(value, Released):
        pod.carry_out(machine.released_written(value.guild, value.epoch, now_s))
    else:
        pod.carry_out(machine.silent_written(value.guild, value.epoch, now_s))


def write_holds(pod: "Pod", command: ask.WriteHolds) -> None:
    _say(pod, command)
    guild = pod.guild(command.guild)

    def value() -> Holding:
        return Holding(
            guild=command.guild,
            pod=PodId(pod.name),
            incarnation=Incarnation(pod.incarnation),
            data=pod.disk.data,
            role=command.role,
            epoch=command.epoch,
            sequence=Sequence(guild.sequence),
            beat=pod.disk.beat + 1,
            source=command.source,
            took_ms=command.took_ms,
            replayed=command.replayed,
            joined_ms=command.joined_ms,
        )

    key = f"holds.{command.guild}.{pod.name}"
    pod.loop.seen[f"holds from {command.source}"] += 1
    pod.process.start(insist(pod, lambda: pod.link.write(storage.HANDOFFS, key, value())))


def confirm_drop(pod: "Pod", command: ask.ConfirmDrop) -> None:
    async def read() -> None:
        machine = pod.machine
        assert machine is not None  # it asked
        key = f"holds.{command.guild}.{pod.name}"
        while True:
            known = machine.guilds.get(command.guild)
            if known is None or known.phase != "kept":
                return  # asked for again meanwhile: what is reported of it from now on stays
            try:
                report = await pod.link.read(storage.HANDOFFS, key)
                if report is not None:
                    await pod.link.write(storage.HANDOFFS, key, None, report.revision)
                entry = await pod.link.read(storage.GUILDS, command.guild)
            except (NotConnected, Unanswered, WrongRevision):
                await pod.process.sleep(AGAIN_S)
            else:
                break
        value = entry.value if entry is not None else None
        named = value if isinstance(value, Assignment) else None
        revision = entry.revision if entry is not None else 0
        now_s = pod.process.now_s()
        pod.carry_out(machine.drop_confirmed(command.guild, named, revision, now_s))

    pod.process.start(read())


def drop_rows(pod: "Pod", command: ask.DropRows) -> None:
    _say(pod, command)

    async def drop() -> None:
        machine = pod.machine
        assert machine is not None  # it asked
        await pod.process.sleep(pod.loop.random() * 0.01)
        pod.disk.rows.pop(command.guild, None)
        pod.loop.seen["rows dropped"] += 1
        pod.cluster.check_sources(command.guild)
        pod.carry_out(machine.dropped(command.guild, pod.process.now_s()))

    pod.process.start(drop())


def readopt(pod: "Pod", command: ask.Readopt) -> None:
    _say(pod, command)

    async def readopt() -> None:
        machine = pod.machine
        assert machine is not None  # it asked
        guild, value = command.guild, command.assignment
        try:
            revision = await pod.link.write(storage.GUILDS, guild, value, command.revision)
        except WrongRevision:
            return
        except (NotConnected, Unanswered):
            machine.readopt_failed(guild, command.revision)
            return
        pod.loop.seen["readopted"] += 1
        now_s = pod.process.now_s()
        pod.carry_out(machine.assignment_seen(guild, value, revision, now_s))

    pod.process.start(readopt())


async def insist(pod: "Pod", do: Callable[[], Awaitable[Any]]) -> Any:
    while True:
        try:
            return await do()
        except (NotConnected, Unanswered):
            await pod.process.sleep(AGAIN_S)


CARRY_OUT: Final[dict[type[Command], Callable[["Pod", Any], None]]] = {
    ask.Renew: renew,
    ask.EndProcess: end_process,
    ask.ReadAssignments: read_assignments,
    ask.Build: build,
    ask.StopFollowing: stop_following,
    ask.AwaitRequests: keep_waiting,
    ask.TurnAway: keep_waiting,
    ask.AppendOpened: append_opened,
    ask.Serve: serve,
    ask.Refuse: refuse,
    ask.CompareEnd: compare_end,
    ask.OpenEffects: open_effects,
    ask.HoldEffects: hold_effects,
    ask.StopOwning: stop_owning,
    ask.WriteReleased: write_released,
    ask.WriteSilent: write_silent,
    ask.WriteHolds: write_holds,
    ask.ConfirmDrop: confirm_drop,
    ask.DropRows: drop_rows,
    ask.Readopt: readopt,
}
