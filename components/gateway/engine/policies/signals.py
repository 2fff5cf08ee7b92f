"""Signals between guilds: taken only by guilds that share, answered with a timeout.

The case is opened when the timeout happened: a guild in which the user is no member keeps no
trace. The guild whose verdict raised the signal writes to the user, once, if it claimed that.
"""

from typing import Final

from components.gateway.engine.effects import DAY_MS, TimeOutMember, audit_reason
from components.gateway.engine.markdown import escaped
from components.gateway.engine.policies import reports
from components.gateway.engine.policies.cases import NewCase, open_case
from components.gateway.engine.policy import Context, Policy, SettledEffect
from components.gateway.engine.report_text import body
from components.gateway.engine.texts import text
from contracts.inputs import GuildSignal

NAME: Final = "signals"


def _on_signal(context: Context, signal: GuildSignal) -> None:
    if not context.rules.settings.signals.share or signal.source == context.guild:
        return
    until_ms = context.time_ms + context.rules.spam.timeout_s * 1000
    why = text("audit.signal", guilds=signal.guilds, source=signal.source_name[:100])
    context.emit_effect(
        TimeOutMember(user=signal.user, until_ms=until_ms, reason=audit_reason(None, why)),
        policy=NAME,
        note={
            "user": signal.user,
            "username": signal.username,
            "source": signal.source,
            "source_name": signal.source_name[:100],
            "guilds": signal.guilds,
            "until_ms": until_ms,
            "why": why,
        },
        expires_ms=min(until_ms, context.time_ms + DAY_MS),
    )


def _on_result(context: Context, effect: SettledEffect) -> None:
    if not effect.done or effect.undone:
        return
    if isinstance(effect.payload, TimeOutMember):
        _on_timed_out(context, effect)
        return
    data = effect.result.data
    if data.get("reached") == "true" and data.get("dm_claimed") == "true":
        words = text("dm.spam", guild=escaped(context.guild_name))
        context.emit_direct_message(effect.note["user"], body(words))


def _on_timed_out(context: Context, effect: SettledEffect) -> None:
    note = effect.note
    case = open_case(
        context,
        NewCase(
            user=note["user"],
            username=note["username"],
            action="timeout",
            status="done",
            reason=note["why"],
            until_ms=note["until_ms"],
            source_guild=note["source"],
        ),
    )
    words = text(
        "report.signal_from",
        source=escaped(note["source_name"]),
        case=case,
        user=note["user"],
        username=escaped(note["username"]),
        guilds=note["guilds"],
        until=note["until_ms"] // 1000,
    )
    reports.post(context, note["user"], note["username"], body(words), {"step": "post"})


POLICY = Policy(name=NAME, order=60, inputs={GuildSignal: _on_signal}, on_result=_on_result)
