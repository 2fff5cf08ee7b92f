"""The pod's lease and its connection, as its state machine sees them."""

from components.gateway.ownership import commands as ask
from components.gateway.ownership.guild import Me
from components.gateway.ownership.pod import PodMachine
from tests.support.ownership import INCARNATION, POD


def test_a_connection_that_is_told_of_twice_is_renewed_over_once() -> None:
    """Of two renewals at once the server refuses one, which looks like a lease that was lost."""
    machine = PodMachine(Me(pod=POD, incarnation=INCARNATION, data="data"), ttl_s=5, margin_s=0.5)
    commands = [*machine.connected(2, 100.0), *machine.connected(2, 100.1)]
    assert [one for one in commands if isinstance(one, ask.Renew)] == [ask.Renew()]
