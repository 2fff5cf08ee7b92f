"""Effects that a replay of the log asks for, against their results on the log and Discord's
record. Pure.

A result is the owner's own word. ``done`` is held against the record: some process's call that
succeeded, at any time of the round, or Discord's own note of what came of it. What an effect in
doubt is settled by (the message is gone, the ban is there) shows in the same way: in a round
nobody but the bot brings it about. ``failed`` and ``expired`` are lost effects, in every scenario:
a Discord that is away makes an effect wait, it refuses none. Moot are those alone whose member the
bot has removed itself meanwhile.

Answers to interactions are judged by what their moderators saw (`questions`), signals go to a
bucket: of these kinds ``done`` is believed, and not counted.
"""

from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Final, TypeAlias

import msgspec

from components.chaos.oracle import Replayed
from components.gateway.engine.effects import (
    AddRole,
    AnyPayload,
    BanMember,
    CreateMessage,
    CreateThread,
    DeleteMessage,
    InteractionAnswerPayload,
    KickMember,
    SendDirectMessage,
    TimeOutMember,
    UnbanMember,
)
from components.simulator.record import Entry
from components.traffic.evidence import Evidence
from components.traffic.reading import succeeded
from contracts.ids import GuildId
from contracts.inputs import EffectResult

UNKNOWN_MEMBER: Final = 10007
"""docs: topics/opcodes-and-status-codes#json"""

_Change: TypeAlias = tuple[str | int, ...]
"""What an effect changes at Discord: a name, then what tells it from others of that name."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what is wrong."""

    done: int
    """Results ``done`` that were held against the record."""
    moot: int
    """Refused because the bot had removed the member."""
    lost: list[str]
    unfounded: list[str]
    """Results of effects that the log does not ask for: an input was taken for another one."""


def check_effects(evidence: Evidence, replays: Mapping[GuildId, Replayed]) -> Held:
    """Every effect has a result, and every result is true."""
    results = _results(evidence)
    shown = {change for entry in evidence.record for change in _shown(entry)}
    done = moot = 0
    lost: list[str] = []
    for guild, replayed in replays.items():
        for (sequence, index), payload in sorted(replayed.effects.items(), key=itemgetter(0)):
            name = f"effect {sequence}/{index} ({payload.kind}) of guild {guild}"
            result = results.get((guild, sequence, index))
            if result is None:
                lost.append(f"{name} has no result")
            elif result.outcome == "done":
                change = _wanted(guild, payload)
                done += change is not None
                if change is not None and change not in shown:
                    lost.append(f"{name} is done, and Discord's record does not show it")
            elif result.outcome == "parked" or isinstance(payload, InteractionAnswerPayload):
                continue  # told as parked; a question that failed
            elif _is_moot(guild, payload, result, shown):
                moot += 1
            else:
                error = result.error
                words = "" if error is None else f": {error.status}/{error.code} {error.message}"
                lost.append(f"{name} {result.outcome}{words}")
    unfounded = [
        f"effect {sequence}/{index} of guild {guild} derives from no input"
        for guild, sequence, index in results
        if (known := replays.get(guild)) is not None
        and sequence <= known.last
        and (sequence, index) not in known.effects
    ]
    return Held(done=done, moot=moot, lost=lost, unfounded=unfounded)


def _results(evidence: Evidence) -> dict[tuple[GuildId, int, int], EffectResult]:
    """The first result of each effect, or the first that followed a parked one: a human's."""
    results: dict[tuple[GuildId, int, int], EffectResult] = {}
    for item in evidence.inputs:
        if isinstance(item.body, EffectResult):
            effect = (item.guild, item.body.sequence, item.body.index)
            if effect not in results or results[effect].outcome == "parked":
                results[effect] = item.body
    return results


def _wanted(guild: GuildId, payload: AnyPayload) -> _Change | None:
    """What the record must show of the effect; None where it cannot."""
    match payload:
        case DeleteMessage():
            return ("deleted", payload.message)
        case CreateMessage() | SendDirectMessage():
            return ("created", payload.nonce)
        case CreateThread():
            return ("thread", payload.message)
        case TimeOutMember():
            return ("timed out", guild, payload.user, payload.until_ms)
        case AddRole():
            return ("role", guild, payload.user, payload.role)
        case KickMember():
            return ("removed", guild, payload.user)
        case BanMember():
            return ("banned", guild, payload.user)
        case UnbanMember():
            return ("unbanned", guild, payload.user)
        case _:
            return None


def _shown(entry: Entry) -> list[_Change]:
    """What the entry says has changed."""
    if entry.kind == "message_delete":
        return [("deleted", entry.data["id"])]
    if entry.kind == "message_create":
        return [("created", nonce)] if (nonce := entry.data.get("nonce")) else []
    if entry.kind != "rest" or not succeeded(entry):
        return []
    match entry.data["method"], entry.data["path"].split("/")[1:]:
        case "DELETE", ["channels", _, "messages", message]:
            return [("deleted", message)]
        case "POST", ["channels", _, "messages", message, "threads"]:
            return [("thread", message)]
        case "PATCH", ["guilds", guild, "members", user]:
            until = (entry.data.get("body") or {}).get("communication_disabled_until")
            return [("timed out", guild, user, _ms(until))] if until else []
        case "PUT", ["guilds", guild, "members", user, "roles", role]:
            return [("role", guild, user, role)]
        case "DELETE", ["guilds", guild, "members", user]:
            return [("removed", guild, user)]
        case "PUT", ["guilds", guild, "bans", user]:
            return [("banned", guild, user), ("removed", guild, user)]
        case "DELETE", ["guilds", guild, "bans", user]:
            return [("unbanned", guild, user)]
    return []


def _is_moot(
    guild: GuildId, payload: AnyPayload, result: EffectResult, shown: set[_Change]
) -> bool:
    return (
        isinstance(payload, TimeOutMember | AddRole | KickMember)
        and result.error is not None
        and result.error.code == UNKNOWN_MEMBER
        and ("removed", guild, payload.user) in shown
    )


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
