"""A pod's right to act, without a pod: the real state machine, told what makes it act."""

from components.gateway.ownership.guild import Me
from components.gateway.ownership.pod import PodMachine
from components.process.clock import steady_s
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.records import Assignment

POD = PodId("gateway-0")
INCARNATION = Incarnation("test-1")


def assignment(guild: GuildId, epoch: int) -> Assignment:
    """The guild is ours."""
    return Assignment(
        guild=guild,
        pod=POD,
        incarnation=INCARNATION,
        epoch=Epoch(epoch),
        first_sequence=Sequence(1),
        generation=Generation("g"),
        cause="placed",
        since_ms=0,
    )


def acting(guild: GuildId, epoch: int, link: int = 1, ttl_s: float = 3600.0) -> PodMachine:
    """May act for the guild at the epoch, effects and all, over connection ``link``."""
    machine = PodMachine(
        Me(pod=POD, incarnation=INCARNATION, data="data"), ttl_s=ttl_s, margin_s=0.5
    )
    now_s = steady_s()
    machine.connected(link, now_s)
    machine.renewed(now_s, link, now_s)
    machine.assignments_read(link, {guild: (assignment(guild, epoch), 1)}, now_s)
    machine.built(guild, "disk", 0, now_s)
    machine.caught_up(guild, Epoch(epoch), 0, now_s)
    return machine
