"""Guilds that do not go on, at an input or because their rows are refused: their owners' leases
say so, config tells people."""

from components.config.view import View
from contracts.ids import GuildId, PodId, Sequence


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


def unopened(view: View, now_s: float, longer_than_s: float) -> dict[PodId, dict[GuildId, str]]:
    """By pod that is here: guilds that it has owned for longer than that and has not opened, and
    why."""
    found: dict[PodId, dict[GuildId, str]] = {}
    for guild, since_s in view.index.opening_since.items():
        pod = view.assignments[guild].assignment.pod
        lease = known.here if (known := view.pods.get(pod)) is not None else None
        if lease is not None and now_s - since_s > longer_than_s:
            found.setdefault(pod, {})[guild] = lease.refused.get(guild, "not opened yet")
    return found
