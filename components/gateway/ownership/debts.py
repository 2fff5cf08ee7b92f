"""What others wait to hear of epochs at which this pod does not act (any more): released, silent.

Each word speaks for every earlier epoch too, for a key holds one value. So it is written only once
it is true of all of them: of an epoch that never opened as well (0006, step 15).
"""

from collections.abc import Callable

import msgspec

from components.gateway.ownership import commands as ask
from components.gateway.ownership.commands import Command
from contracts.ids import Epoch, GuildId, PodId
from contracts.records import EarlierOwner

Proof = Callable[[EarlierOwner], bool]


class _Debt(msgspec.Struct, kw_only=True):
    before: list[EarlierOwner]
    """Who must have let go, and be silent, before the word is true."""
    releasing: bool = False
    released: bool = False
    silencing: bool = False
    silent: bool = False


class Debts:
    """Those of one guild."""

    def __init__(self, guild: GuildId) -> None:
        self._guild = guild
        self._open: dict[Epoch, _Debt] = {}
        self._paid_up_to = Epoch(0)

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def earlier(self) -> list[EarlierOwner]:
        """Everybody whose silence is waited for."""
        return [one for debt in self._open.values() for one in debt.before]

    def owe(self, epoch: Epoch, before: list[EarlierOwner]) -> None:
        """The pod acts at this epoch no more; once said, it stays."""
        if epoch > self._paid_up_to and epoch not in self._open:
            self._open[epoch] = _Debt(before=before)

    def due(
        self,
        let_go: Proof,
        silent: Proof,
        may_speak: Callable[[Epoch], bool],
        next_owner: PodId | None,
    ) -> list[Command]:
        """What can be written now. ``may_speak``: no request of our own is under way."""
        todo: list[Command] = []
        for epoch, debt in self._open.items():
            if not debt.releasing and all(map(let_go, debt.before)):
                debt.releasing = True
                todo.append(ask.WriteReleased(guild=self._guild, epoch=epoch, to=next_owner))
            if not debt.silencing and may_speak(epoch) and all(map(silent, debt.before)):
                debt.silencing = True
                todo.append(ask.WriteSilent(guild=self._guild, epoch=epoch))
        return todo

    def released_written(self, epoch: Epoch) -> None:
        """``released.<guild>`` is at this epoch or a later one."""
        if (debt := self._open.get(epoch)) is not None:
            debt.released = True
            self._close(epoch, debt)

    def silent_written(self, epoch: Epoch) -> None:
        """``silent.<guild>`` is at this epoch or a later one."""
        if (debt := self._open.get(epoch)) is not None:
            debt.silent = True
            self._close(epoch, debt)

    def _close(self, epoch: Epoch, debt: _Debt) -> None:
        if debt.released and debt.silent:
            del self._open[epoch]
            self._paid_up_to = max(self._paid_up_to, epoch)
