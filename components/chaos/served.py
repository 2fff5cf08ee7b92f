"""What clients were told, against the log and against what they had seen before. Pure."""

from collections.abc import Sequence

import msgspec

from components.chaos.clients import Asked
from components.traffic.evidence import Evidence
from contracts.ids import GuildId
from contracts.inputs import CommandReceived


class Served(msgspec.Struct, kw_only=True):
    """What came of the clients' requests."""

    writes: int = 0
    """That were acknowledged."""
    failed: list[str] = []
    writes_missing: list[str] = []
    """Acknowledged and not on the log below what the acknowledgement says."""
    unseen: list[str] = []
    """Reads that are older than what their client had read or written."""


def check_served(log: Sequence[Asked], evidence: Evidence) -> Served:
    """Every request was served, every acknowledged write is on the log, no read goes back."""
    on_log = {
        (item.guild, str(item.body.request_id)): item.sequence
        for item in evidence.inputs
        if isinstance(item.body, CommandReceived)
    }
    told = Served()
    newest: dict[tuple[str, GuildId], Asked] = {}
    writes: dict[GuildId, Asked] = {}
    for asked in sorted(log, key=lambda asked: asked.ended_ms):
        name = f"{asked.client}'s {asked.kind} of guild {asked.guild}"
        if not asked.served:
            told.failed.append(f"{name} via {asked.via}: {asked.words}")
            continue
        if asked.kind == "write":
            told.writes += 1
            sequence = on_log.get((asked.guild, asked.request))
            if sequence is None or sequence > asked.applied:
                told.writes_missing.append(f"{name}, request {asked.request}")
            writes[asked.guild] = asked
        else:
            before = newest.get((asked.client, asked.guild))
            told.unseen += [f"{name}: {words}" for words in _older(asked, writes, before)]
        newest[asked.client, asked.guild] = asked
    return told


def _older(read: Asked, writes: dict[GuildId, Asked], before: Asked | None) -> list[str]:
    """In what the read is older than what its client had seen."""
    found = []
    if read.applied < read.min_applied:
        found.append(f"read at {read.applied}, had seen {read.min_applied}")
    written = writes.get(read.guild)
    if written is not None and written.client == read.client and read.version < written.version:
        found.append(f"version {read.version}, had written {written.version}")
    if before is not None and read.version < before.version:
        found.append(f"version {read.version}, had read {before.version}")
    return found
