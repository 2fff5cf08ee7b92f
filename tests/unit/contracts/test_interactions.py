"""First responses: how each interaction is deferred."""

import pytest

from contracts.interactions import COMMANDS, DiscordCommand, deferral_of


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_a_command_is_deferred_as_its_contract_says(command: DiscordCommand) -> None:
    deferral = deferral_of(2, command.name)
    assert deferral.type == 5
    assert deferral.ephemeral is command.ephemeral


def test_a_case_is_shown_to_its_moderator_alone() -> None:
    assert deferral_of(2, "case").as_discord() == {"type": 5, "data": {"flags": 64}}


@pytest.mark.parametrize("kind", [2, 4, 5, 99])
def test_what_nobody_knows_is_deferred_for_its_caller_alone(kind: int) -> None:
    deferral = deferral_of(kind, "never-deployed")
    assert (deferral.type, deferral.ephemeral) == (5, True)


def test_a_component_is_deferred_as_an_update_of_its_message() -> None:
    # even when its custom id is a command's name
    assert deferral_of(3, "case").as_discord() == {"type": 6}


def test_a_command_is_deployed_with_its_permission_as_text_and_in_guilds_only() -> None:
    body = COMMANDS[0].as_discord()
    assert body["name"] == "case"
    assert body["default_member_permissions"] == str(1 << 13)
    assert body["contexts"] == [0]
    option = body["options"][0]["options"][0]
    assert option == {
        "type": 4,
        "name": "number",
        "description": "The case's number",
        "required": True,
        "min_value": 1,
    }
