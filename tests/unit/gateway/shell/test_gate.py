"""The output gate: all three conditions, at the moment of asking."""

import pytest

from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from contracts.ids import Epoch, GuildId

GUILD = GuildId("42")
PERMIT = Permit(GUILD, Epoch(3))


class Surroundings:
    """The lease and the connection."""

    def __init__(self) -> None:
        self.leased = True
        self.connected = True
        self.link = 1

    def gate(self) -> Gate:
        gate = Gate(self, lambda: self.leased)
        gate.assign(GUILD, Epoch(3))
        gate.confirm(1)
        return gate


async def test_all_conditions_together_open_the_gate() -> None:
    gate = Surroundings().gate()
    gate.check(PERMIT)
    assert gate.may_act(PERMIT)


async def test_a_lease_that_has_ended_closes_it_without_anybody_saying_so() -> None:
    around = Surroundings()
    gate = around.gate()
    around.leased = False
    with pytest.raises(GateClosed, match="lease"):
        gate.check(PERMIT)


async def test_a_lost_connection_closes_it() -> None:
    around = Surroundings()
    gate = around.gate()
    around.connected = False
    with pytest.raises(GateClosed, match="not connected"):
        gate.check(PERMIT)


async def test_a_new_connection_must_be_confirmed_first() -> None:
    around = Surroundings()
    gate = around.gate()
    around.link = 2
    with pytest.raises(GateClosed, match="not confirmed"):
        gate.check(PERMIT)
    gate.confirm(1)  # late news of the old connection
    assert not gate.may_act(PERMIT)
    gate.confirm(2)
    assert gate.may_act(PERMIT)


async def test_a_lost_link_stays_closed_even_if_the_count_has_not_moved_yet() -> None:
    around = Surroundings()
    gate = around.gate()
    gate.link_lost()
    assert not gate.may_act(PERMIT)


@pytest.mark.parametrize("epoch", [2, 4])
async def test_another_epoch_is_not_permitted(epoch: int) -> None:
    gate = Surroundings().gate()
    with pytest.raises(GateClosed, match="epoch"):
        gate.check(Permit(GUILD, Epoch(epoch)))


async def test_another_guild_is_not_permitted() -> None:
    with pytest.raises(GateClosed):
        Surroundings().gate().check(Permit(GuildId("43"), Epoch(3)))


async def test_a_late_withdrawal_of_an_old_epoch_does_not_close_the_new_one() -> None:
    gate = Surroundings().gate()
    gate.assign(GUILD, Epoch(4))
    gate.withdraw(GUILD, Epoch(3))
    assert gate.may_act(Permit(GUILD, Epoch(4)))
    gate.withdraw(GUILD, Epoch(4))
    assert not gate.may_act(Permit(GUILD, Epoch(4)))


async def test_a_gate_that_was_shut_stays_shut() -> None:
    gate = Surroundings().gate()
    gate.shut()
    gate.confirm(1)
    assert not gate.is_open
