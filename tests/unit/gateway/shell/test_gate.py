"""The output gate (0006, step 4): what the pod's state machine allows, over the connection that it
knows."""

import pytest

from components.gateway.ownership.pod import PodMachine
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.process.clock import steady_s
from contracts.ids import Epoch, GuildId
from tests.support.ownership import acting, assignment

GUILD = GuildId("42")
PERMIT = Permit(GUILD, Epoch(3))


class Surroundings:
    """The connection, and the pod that judges."""

    def __init__(self) -> None:
        self.connected = True
        self.link = 1
        self.machine: PodMachine = acting(GUILD, 3)
        self.gate = Gate(self, self.machine)


async def test_step_4_lease_connection_and_assignment_together_open_the_gate() -> None:
    gate = Surroundings().gate
    gate.check(PERMIT)
    gate.check_effects(PERMIT)
    assert gate.may_act(PERMIT)
    assert gate.is_open


async def test_step_4_a_lease_that_has_ended_closes_it_without_anybody_saying_so() -> None:
    around = Surroundings()
    machine = acting(GUILD, 3, ttl_s=0.6)
    now = [steady_s()]
    gate = Gate(around, machine, lambda: now[0])
    gate.check(PERMIT)
    now[0] += 0.2
    with pytest.raises(GateClosed, match="lease"):
        gate.check(PERMIT)


async def test_step_4_a_connection_that_is_lost_closes_it_before_the_machine_is_told() -> None:
    around = Surroundings()
    around.connected = False
    with pytest.raises(GateClosed, match="not connected"):
        around.gate.check(PERMIT)
    assert not around.gate.is_open


async def test_step_4_a_new_connection_closes_it_before_the_machine_is_told() -> None:
    around = Surroundings()
    around.link = 2
    with pytest.raises(GateClosed, match="not confirmed"):
        around.gate.check(PERMIT)
    around.machine.disconnected(steady_s())
    now_s = steady_s()
    around.machine.connected(2, now_s)
    assert not around.gate.may_act(PERMIT)
    around.machine.renewed(now_s, 2, now_s)
    around.machine.assignments_read(2, {GUILD: (assignment(GUILD, 3), 1)}, now_s)
    assert around.gate.may_act(PERMIT)


async def test_step_4_effects_have_a_gate_of_their_own() -> None:
    around = Surroundings()
    around.machine.guilds[GUILD].link_lost()
    around.gate.check(PERMIT)
    with pytest.raises(GateClosed, match="effects"):
        around.gate.check_effects(PERMIT)


@pytest.mark.parametrize("epoch", [2, 4])
async def test_step_4_another_epoch_is_not_permitted(epoch: int) -> None:
    with pytest.raises(GateClosed, match="epoch"):
        Surroundings().gate.check(Permit(GUILD, Epoch(epoch)))


async def test_step_4_another_guild_is_not_permitted() -> None:
    with pytest.raises(GateClosed):
        Surroundings().gate.check(Permit(GuildId("43"), Epoch(3)))


async def test_who_waits_for_the_gate_hears_when_it_opens() -> None:
    around = Surroundings()
    around.connected = False
    around.gate.look()
    assert not around.gate._opened.is_set()
    around.connected = True
    around.gate.look()
    await around.gate.opened()


async def test_a_pod_that_stops_is_shut_for_good() -> None:
    around = Surroundings()
    around.machine.stop(steady_s())
    around.machine.renewed(steady_s(), 1, steady_s())
    assert not around.gate.is_open
