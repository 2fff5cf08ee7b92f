"""Machines: what starts processes again, keeps their disks, and is hit by faults.

A host keeps a process running: when it ends, a supervisor starts another one after a while, unless
the host is `gone`. A pod's host has a data directory, which may be lost, and
mostly a parent process, which attests the end of its child.
"""

from collections.abc import Callable
from typing import Protocol

from components.simulate.disks import Disk
from components.simulate.link import Link, NotConnected, Unanswered
from components.simulate.loop import Loop
from components.simulate.process import Process
from components.simulate.server import Server
from contracts import storage
from contracts.ids import PodId
from contracts.records import ProcessEnd

ATTEST_WITHIN_S = 10.0


class Program(Protocol):
    """What a host runs in a process."""

    process: Process
    link: Link

    def terminate(self) -> None:
        """SIGTERM."""
        ...


class Host:
    """One machine with one program."""

    def __init__(self, loop: Loop, server: Server, name: str) -> None:
        self.loop = loop
        self.server = server
        self.name = name
        self.program: Program | None = None
        self.gone = False
        """For good: it is not started again."""
        self.restart_s = (0.2, 2.0)
        self.starts = 0
        self.make: Callable[[Process, Link], Program]
        self._cut = (False, False)

    @property
    def running(self) -> Program | None:
        """The program, while its process lives."""
        program = self.program
        return program if program is not None and program.process.alive else None

    @property
    def instance(self) -> str:
        """What tells it from another machine for the same name."""
        return ""

    def start(self) -> None:
        """Start the program, unless it runs."""
        if self.running is not None or self.gone:
            return
        self.starts += 1
        process = Process(self.loop, f"{self.name}{self.instance}#{self.starts}")
        link = Link(process, self.server)
        link.cut_up, link.cut_down = self._cut
        process.on_end.append(lambda: self.ended(process))
        self.program = self.make(process, link)
        self.loop.say(self.name, f"starts as {process.name}")
        link.connect()

    def ended(self, process: Process) -> None:
        """The process is gone."""
        self.loop.say(self.name, f"{process.name} has ended")
        self.loop.after(self.loop.between(*self.restart_s), self.start)

    def kill(self) -> None:
        """kill -9."""
        if (program := self.running) is not None:
            program.process.end()

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        program = self.running
        if program is None or program.process.stopped:
            return
        program.process.stop()
        self.loop.say(self.name, f"is stopped for {seconds:.2f} s")
        self.loop.after(seconds, lambda: self._go_on(program.process))

    def cut(self, *, up: bool, down: bool, noticed: bool = False) -> None:
        """Its bytes to or from NATS do not get through; ``noticed``: the server knows at once."""
        self._cut = (up, down)
        self.loop.say(self.name, f"is cut off (up {up}, down {down}, noticed {noticed})")
        for link in self.links():
            link.cut(up=up, down=down, noticed=noticed)

    def heal(self) -> None:
        """They do again."""
        self._cut = (False, False)
        self.loop.say(self.name, "is no longer cut off")
        for link in self.links():
            link.heal()

    def links(self) -> list[Link]:
        """The connections of what runs on the machine."""
        program = self.running
        return [program.link] if program is not None else []

    def _go_on(self, process: Process) -> None:
        if process.alive:
            self.loop.say(self.name, "goes on")
            process.go_on()


class PodHost(Host):
    """The machine of a gateway pod. ``twin``: a second machine for a pod of the same name, as an
    orchestrator starts one when it has lost sight of the first."""

    def __init__(self, loop: Loop, server: Server, name: str, zone: str, twin: str = "") -> None:
        super().__init__(loop, server, name)
        self.zone = zone
        self.twin = twin
        self.disks = 1
        self.disk = Disk(f"{name}{twin}-disk1")
        self.disk_lost_s = float("-inf")
        """When it last lost its disk."""
        self.attested = True
        """Whether the parent lives when the process ends."""
        self.on_disk_lost: Callable[[], None] = lambda: None
        self._parents: list[Link] = []

    @property
    def instance(self) -> str:
        """What tells it from another machine for the same name."""
        return self.twin

    @property
    def lost(self) -> bool:
        """Whether nobody will ever read its disk again."""
        return self.gone and self.running is None

    def token(self) -> str:
        """The name that the parent gives the process it starts."""
        return f"{self.name}{self.twin}-process{self.starts}"

    def wipe(self) -> None:
        """The data directory is lost; the next start finds an empty one. Only without a process."""
        self.loop.say(self.name, "loses its disk")
        self.disk.lost = True
        self.disk_lost_s = self.loop.now_s
        self.disks += 1
        self.disk = Disk(f"{self.name}{self.twin}-disk{self.disks}")
        self.on_disk_lost()

    def ended(self, process: Process) -> None:
        """The parent attests it and ends; both are started again."""
        super().ended(process)
        if self.attested:
            end = ProcessEnd(pod=PodId(self.name), process=self.token(), exit_code=-9, ended_ms=0)
            parent = Process(self.loop, f"{self.name} parent")
            link = Link(parent, self.server)
            link.cut_up, link.cut_down = self._cut
            self._parents.append(link)
            link.connect()
            parent.start(self._attest(parent, link, end))
        self.attested = True
        if self.lost:
            self.on_disk_lost()

    def links(self) -> list[Link]:
        """The parent's connection is on the same network."""
        return super().links() + [link for link in self._parents if link.process.alive]

    async def _attest(self, parent: Process, link: Link, end: ProcessEnd) -> None:
        until_s = parent.now_s() + ATTEST_WITHIN_S
        await parent.sleep(0.001)
        while parent.now_s() < until_s:
            try:
                await link.write(storage.ENDS, f"{end.pod}.{end.process}", end)
                break
            except (NotConnected, Unanswered):
                await parent.sleep(0.05)
        parent.end()
        self._parents.remove(link)
