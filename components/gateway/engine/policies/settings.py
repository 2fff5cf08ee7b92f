"""``settings.put``: a new version of the guild's settings, kept with who changed what.

Only an operator may, until users' rights are known here. The arguments are the body of
`PutSettings`; the actor is the input's, never the body's.
"""

from components.gateway.engine.effects import SHARING_USEFUL_MS, RaiseSignal
from components.gateway.engine.policy import Context, Policy, forbidden
from components.gateway.engine.settings_store import changed_paths, settings_view
from contracts.errors import ErrorCode, ServiceError
from contracts.facts import SettingsChanged
from contracts.inputs import Actor, CommandReceived
from contracts.message import MalformedMessage, decode, encode
from contracts.requests import PutSettings, SettingsView
from contracts.settings import GuildSettings, parse_settings


def _put(context: Context, command: CommandReceived) -> bytes:
    if command.actor.kind != "operator":
        raise forbidden("only an operator may change the settings")
    try:
        request = decode(bytes(command.arguments), PutSettings)
    except MalformedMessage as error:
        raise ServiceError(ErrorCode.MALFORMED, str(error)) from error
    before = settings_view(context.database, context.guild)
    if request.expected_version is not None and request.expected_version != before.version:
        raise ServiceError(
            ErrorCode.CONFLICT,
            f"the settings are at version {before.version}, not {request.expected_version}:"
            " read them again",
        )
    return encode(change_settings(context, command.actor, parse_settings(bytes(request.settings))))


def change_settings(context: Context, actor: Actor, after: GuildSettings) -> SettingsView:
    """Put settings into force as a new version, with a fact of what changed; the version in
    force when nothing does."""
    before = settings_view(context.database, context.guild)
    changed = changed_paths(before.settings, after)
    if not changed:
        return before
    view = SettingsView(
        version=before.version + 1,
        settings=after,
        changed_ms=context.time_ms,
        changed_by=actor,
    )
    context.execute(
        "INSERT INTO settings VALUES (?, ?, ?, ?, ?, ?)",
        (
            context.guild,
            view.version,
            encode(after),
            context.time_ms,
            encode(actor),
            encode(changed),
        ),
    )
    context.emit_fact(
        SettingsChanged(
            settings_version=view.version,
            by_kind=actor.kind,
            by=actor.id,
            changed=changed,
        )
    )
    if before.settings.signals.share != after.signals.share:
        _announce_sharing(context, after)
    return view


def _announce_sharing(context: Context, after: GuildSettings) -> None:
    context.emit_effect(
        RaiseSignal(
            op="share" if after.signals.share else "unshare",
            guild_name=context.guild_name,
            guild_count=after.signals.guild_count,
        ),
        expires_ms=context.time_ms + SHARING_USEFUL_MS,
    )


POLICY = Policy(name="settings", order=20, commands={"settings.put": _put})
