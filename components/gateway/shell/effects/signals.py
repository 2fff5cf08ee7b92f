"""Signals between guilds that share: who reported whom lies in bucket ``signals``.

Keys: ``sharing.<guild>`` (the guild shares), ``<user>.<guild>`` (a spam report, kept 30 days),
``dm.<user>`` (who may write to the user, once). Everything is idempotent: keys are written with
the same value again, a `GuildSignal` is stored once under its id, and a claim names its effect.
"""

from typing import Final

from components.bus.buckets import Bucket
from components.bus.errors import BusError, WrongLastSequence
from components.gateway.engine.effects import RaiseSignal
from components.gateway.shell.effects.outcomes import Again
from components.gateway.shell.effects.work import Data, Work
from components.telemetry.traces import carry
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Sequence, UserId
from contracts.inputs import GuildSignal, signal_id
from contracts.message import MalformedMessage, decode, encode
from contracts.records import SharedSignal

KEPT_S: Final = 30 * 24 * 3600


async def raise_signal(work: Work, payload: RaiseSignal) -> Data:
    """Keep the guild's keys; past the threshold tell every other sharing guild."""
    bucket = Bucket(work.bus, storage.SIGNALS)
    work.gate.check(work.permit)
    try:
        if payload.op == "report":
            return await _report(work, bucket, payload)
        await _share(work, bucket, payload)
    except BusError as error:
        raise Again(str(error), in_doubt=True) from error
    return {}


async def _share(work: Work, bucket: Bucket, payload: RaiseSignal) -> None:
    key = f"sharing.{work.effect.guild}"
    if payload.op == "share":
        await bucket.put(key, encode(_record(work, payload)))
    else:
        await bucket.delete(key)


async def _report(work: Work, bucket: Bucket, payload: RaiseSignal) -> Data:
    if payload.user is None:
        return {}
    guild = work.effect.guild
    await bucket.put(f"{payload.user}.{guild}", encode(_record(work, payload)), ttl_s=KEPT_S)
    sharing = {key.partition(".")[2] for key in await bucket.snapshot("sharing.*")}
    reported = {key.partition(".")[2] for key in await bucket.snapshot(f"{payload.user}.*")}
    count = len(sharing & reported)
    reached = payload.escalate and count >= payload.guild_count
    data = {"guilds": str(count), "reached": str(reached).lower(), "dm_claimed": "false"}
    if not reached:
        return data
    for other in sorted(sharing - {guild}):
        await _tell(work, payload, GuildId(other), payload.user, count)
    claimed = await _claim(work, bucket, payload, payload.user)
    return {**data, "dm_claimed": str(claimed).lower()}


async def _tell(work: Work, payload: RaiseSignal, other: GuildId, user: UserId, count: int) -> None:
    signal = GuildSignal(
        source=work.effect.guild,
        source_name=payload.guild_name,
        source_sequence=work.effect.sequence,
        user=user,
        username=payload.username,
        guilds=count,
    )
    name = signal_id(other, work.effect.guild, work.effect.sequence, user)
    work.gate.check(work.permit)
    await work.bus.append(subjects.inputs(other), encode(signal), carry({headers.MSG_ID: name}))


async def _claim(work: Work, bucket: Bucket, payload: RaiseSignal, user: UserId) -> bool:
    """Whether this effect is the one that may write to the user, now or before a crash."""
    key = f"dm.{user}"
    entry = await bucket.get(key)
    if entry is not None and entry.value is not None:
        try:
            holder = decode(entry.value, SharedSignal)
        except MalformedMessage:
            return False
        return (holder.guild, holder.sequence) == (work.effect.guild, work.effect.sequence)
    work.gate.check(work.permit)
    try:
        await bucket.replace(
            key, encode(_record(work, payload)), entry.revision if entry else 0, ttl_s=KEPT_S
        )
    except WrongLastSequence:
        return False
    return True


def _record(work: Work, payload: RaiseSignal) -> SharedSignal:
    return SharedSignal(
        guild=work.effect.guild,
        name=payload.guild_name,
        sequence=Sequence(work.effect.sequence),
    )
