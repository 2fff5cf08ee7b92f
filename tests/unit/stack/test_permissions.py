"""The permissions that the invite link asks for."""

from typing import get_args
from urllib.parse import parse_qs, urlparse

import discord

from components.gateway.engine.model import EffectKind
from components.stack import permissions


def test_every_kind_of_effect_has_its_permissions() -> None:
    assert set(permissions.OF_EFFECT) == set(get_args(EffectKind))


def test_the_bits_are_discords() -> None:
    expected = discord.Permissions(
        kick_members=True,
        ban_members=True,
        view_audit_log=True,
        view_channel=True,
        send_messages=True,
        manage_messages=True,
        embed_links=True,
        read_message_history=True,
        manage_roles=True,
        create_public_threads=True,
        send_messages_in_threads=True,
        moderate_members=True,
    )
    assert permissions.needed() == expected.value


def test_only_what_is_enabled_is_asked_for() -> None:
    few = permissions.needed(["message.delete"])
    assert few & permissions.MANAGE_MESSAGES
    assert not few & permissions.BAN_MEMBERS
    assert few & permissions.READING == permissions.READING


def test_nobody_is_asked_to_make_the_bot_an_administrator() -> None:
    assert not discord.Permissions(permissions.needed()).administrator


def test_the_link_names_application_scopes_and_permissions() -> None:
    link = urlparse(permissions.invite_link("42", 8192))
    assert link.netloc == "discord.com"
    assert parse_qs(link.query) == {
        "client_id": ["42"],
        "scope": ["bot applications.commands"],
        "permissions": ["8192"],
    }
