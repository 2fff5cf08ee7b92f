"""Commands that people give in Discord: ``/case view``.

Each is answered by exactly one effect, with words for whatever is wrong with it; the permission
is checked again from what Discord says of the member now. The token lies in the effect alone and
leaves with it.
"""

from typing import Annotated, Any, Final

import msgspec

from components.gateway.engine.case_message import case_message, words_message
from components.gateway.engine.case_store import find_case
from components.gateway.engine.effects import USEFUL_MS, InteractionAnswerPayload
from components.gateway.engine.errors import InvalidInput
from components.gateway.engine.events import ADMINISTRATOR, Member, Snowflake
from components.gateway.engine.policy import Context, Policy
from components.gateway.engine.texts import text
from contracts.ids import CaseNumber, InteractionId, snowflake_time_ms
from contracts.inputs import InteractionReceived
from contracts.interactions import CHANNEL_MESSAGE, MANAGE_MESSAGES

_COMMAND: Final = 2
_MAX_NUMBER: Final = 2**63 - 1


class _Option(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: Any = None
    options: list["_Option"] = []


class _CommandData(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    options: list[_Option] = []


class _Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of Discord's interaction object."""

    id: Snowflake
    application_id: Snowflake
    type: int
    token: Annotated[str, msgspec.Meta(min_length=1)]
    guild_id: Snowflake
    data: _CommandData = _CommandData()
    member: Member | None = None
    locale: str = "en"


_DECODER: Final = msgspec.json.Decoder(_Interaction)


def _on_interaction(context: Context, received: InteractionReceived) -> None:
    try:
        interaction = _DECODER.decode(received.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"malformed interaction: {error}") from error
    expires_ms = snowflake_time_ms(interaction.id) + USEFUL_MS["interaction.answer"]
    context.emit_effect(
        InteractionAnswerPayload(
            interaction=InteractionId(interaction.id),
            application=interaction.application_id,
            token=interaction.token,
            answer_to=received.answer_to,
            type=CHANNEL_MESSAGE,
            data=_answer(context, interaction),
        ),
        expires_ms=expires_ms,
    )


def _answer(context: Context, interaction: _Interaction) -> dict[str, Any]:
    locale = interaction.locale
    path, arguments = _command_path(interaction)
    if path != "case view":
        return words_message(text("command.unknown", locale))
    if not _may_moderate(context, interaction.member):
        return words_message(text("case.not_allowed", locale))
    number = arguments.get("number")
    if type(number) is not int or not 0 < number <= _MAX_NUMBER:
        return words_message(text("case.none", locale, number=str(number)[:20]))
    case = find_case(context.database, context.guild, CaseNumber(number))
    if case is None:
        return words_message(text("case.none", locale, number=number))
    return case_message(case, locale)


def _command_path(interaction: _Interaction) -> tuple[str, dict[str, Any]]:
    """The command with its subcommand, e.g. ``case view``, and its arguments."""
    if interaction.type != _COMMAND:
        return "", {}
    name, options = interaction.data.name, interaction.data.options
    if len(options) == 1 and options[0].value is None:
        name, options = f"{name} {options[0].name}", options[0].options
    return name, {option.name: option.value for option in options}


def _may_moderate(context: Context, member: Member | None) -> bool:
    if member is None:
        return False
    if int(member.permissions or "0") & (MANAGE_MESSAGES | ADMINISTRATOR):
        return True
    return context.rules.settings.moderator_role in member.roles


POLICY = Policy(name="interactions", order=70, inputs={InteractionReceived: _on_interaction})
