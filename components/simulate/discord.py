"""Discord: what was done there, by which process, and when.

A request is written at one moment (behind the gate), is carried out at another and answered at a
third, if the answer arrives. What a killed process had written is carried out at once or never:
that a network delivers the bytes of the dead is the business of the settlement table, which every
effect in doubt passes (`Discord.look_up`), and not of ownership.
"""

from collections.abc import Callable

import msgspec

from components.simulate.loop import Loop
from components.simulate.process import Process
from components.simulate.tasks import Answer

TAKES_S = (0.005, 0.12)


class NoAnswer(Exception):
    """The request timed out: it may have been carried out."""


class Call(msgspec.Struct, frozen=True):
    """A request as it left a process."""

    guild: str
    effect: int
    pod: str
    incarnation: str
    epoch: int
    written_s: float


class Discord:
    """The one world outside."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.calls: list[Call] = []
        self.done: dict[tuple[str, int], list[Call]] = {}
        self.under_way: dict[int, tuple[Call, Process]] = {}
        """Written and neither carried out nor given up."""
        self.cut: set[str] = set()
        """Pods whose requests hang."""
        self.on_call: Callable[[Call], None] = lambda call: None
        self._number = 0

    async def send(self, process: Process, call: Call, until_own_s: float) -> None:
        """Carry out an effect. Raises `NoAnswer` at the latest when the process's clock shows
        ``until_own_s``: the request is then given up and will not be carried out any more."""
        loop = self.loop
        self._number += 1
        number = self._number
        self.calls.append(call)
        self.on_call(call)
        self.under_way[number] = (call, process)
        answer = Answer()
        cut = call.pod in self.cut
        takes_s = loop.between(0.1, 20.0) if cut and loop.happens(0.8) else loop.between(*TAKES_S)

        def carry_out() -> None:
            if self.under_way.pop(number, None) is None:
                return
            self._do(call)
            if call.pod not in self.cut or loop.happens(0.3):
                back_s = loop.between(*TAKES_S)
                loop.after(back_s, lambda: process.receive(lambda: answer.give(True)))

        end_s = process.true_s(until_own_s)
        if loop.now_s + takes_s < end_s:
            loop.after(takes_s, carry_out)
        else:
            loop.at(end_s, lambda: self.under_way.pop(number, None) and None)
        process.timer(until_own_s - process.now_s(), lambda: answer.give(None, NoAnswer()))
        await answer

    def process_ended(self, process: Process) -> None:
        """What the process had written arrives now or never."""
        for number, (call, sender) in tuple(self.under_way.items()):
            if sender is process:
                del self.under_way[number]
                if self.loop.happens(0.5):
                    self._do(call)

    def _do(self, call: Call) -> None:
        self.done.setdefault((call.guild, call.effect), []).append(call)

    async def look_up(self, process: Process, guild: str, effect: int, until_own_s: float) -> bool:
        """Whether an effect in doubt was carried out. Raises `NoAnswer`."""
        answer = Answer()
        self.loop.after(
            self.loop.between(*TAKES_S),
            lambda: process.receive(lambda: answer.give((guild, effect) in self.done)),
        )
        process.timer(
            max(0.0, until_own_s - process.now_s()), lambda: answer.give(None, NoAnswer())
        )
        found: bool = await answer
        return found
