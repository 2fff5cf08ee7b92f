"""Guilds that an input keeps from going on: their owners' leases say so, config tells people."""

from components.config.view import View
from contracts.ids import GuildId, Sequence


def parked(view: View) -> dict[GuildId, Sequence]:
    """The guilds whose owner waits for an operator, and the input at which each waits. What a
    follower says is left out: it counts once it owns."""
    found: dict[GuildId, Sequence] = {}
    for pod in view.pods.values():
        if pod.here is None:
            continue
        for guild, sequence in pod.here.parked.items():
            held = view.assignments.get(guild)
            if held is not None and held.assignment.pod == pod.pod:
                found[guild] = sequence
    return found


def skip_words(guild: GuildId, sequence: Sequence) -> str:
    """What an operator is told, and what to type."""
    return (
        f"parked at input {sequence}, which killed its process twice; to go on without it: "
        f"modbot guild {guild} skip {sequence} --reason …"
    )
