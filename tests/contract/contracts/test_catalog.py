"""Every type is in the catalog, and every user may do exactly what the catalog says."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import msgspec
import pytest

import contracts
from contracts import accounts, catalog, storage
from contracts.accounts import USERS, BusUser
from contracts.catalog import CHANNELS, Channel
from contracts.message import Message
from contracts.requests import Request

CLIENTS = [user for user in USERS if user.name != "provisioner"]
PUBLIC_PREFIXES = ("modbot.", "$KV.")
"""Subjects of modbot's own; the rest of a user's list is the server's API."""


def covers(pattern: str, subject: str) -> bool:
    """Whether a NATS permission covers a subject (or a narrower pattern)."""
    allowed, asked = pattern.split("."), subject.split(".")
    for index, token in enumerate(allowed):
        if token == ">":
            return len(asked) > index
        if index >= len(asked) or asked[index] == ">":
            return False
        if token not in ("*", asked[index]):
            return False
    return len(allowed) == len(asked)


def example(channel: Channel) -> str:
    """A subject of the channel; the parameter's value is one that stands nowhere else."""
    return re.sub(r"\{\w+\}", "81384788765712384", channel.address)


def may_publish(user: BusUser, channel: Channel) -> bool:
    return any(covers(pattern, example(channel)) for pattern in user.publish)


def may_subscribe(user: BusUser, channel: Channel) -> bool:
    return any(covers(pattern, example(channel)) for pattern in user.subscribe)


def may_read(user: BusUser, stream: str) -> bool:
    apis = (
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.subject",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.name.subject",
    )
    return any(covers(pattern, api) for pattern in user.publish for api in apis)


def subclasses(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    children: list[type[msgspec.Struct]] = base.__subclasses__()
    for child in children:
        yield child
        yield from subclasses(child)


def test_every_message_type_is_in_the_catalog_or_part_of_something_in_it() -> None:
    for module in pkgutil.walk_packages(contracts.__path__, "contracts."):
        importlib.import_module(module.name)
    top: tuple[type[msgspec.Struct], ...] = (*catalog.messages(), *catalog.READ_FROM_DISCORD)
    known = {part for message in top for part in catalog.parts_of(message)}
    declared = {
        kind
        for base in (Message, Request)
        for kind in subclasses(base)
        if kind.__module__.startswith("contracts.") and not kind.__subclasses__()
    }
    assert len(declared) > 40
    assert {kind.__name__ for kind in declared - known} == set()


def test_no_two_types_share_a_name() -> None:
    names = [part.__name__ for m in catalog.messages() for part in catalog.parts_of(m)]
    kinds = {part for m in catalog.messages() for part in catalog.parts_of(m)}
    assert len(set(names)) == len(kinds)


def test_channels_have_names_and_addresses_of_their_own() -> None:
    assert len({channel.name for channel in CHANNELS}) == len(CHANNELS)
    assert len({channel.address for channel in CHANNELS}) == len(CHANNELS)


def test_every_bucket_has_a_channel_and_every_kept_channel_a_stream() -> None:
    streams = {config["name"] for config in storage.streams()}
    kept = {channel.stream for channel in CHANNELS if channel.stream}
    # an object store holds files, not messages
    assert kept == streams - {f"OBJ_{storage.SNAPSHOTS}"}


@pytest.mark.parametrize("channel", [c for c in CHANNELS if c.stream], ids=lambda c: c.name)
def test_a_kept_channel_is_stored_by_its_stream(channel: Channel) -> None:
    config = next(c for c in storage.streams() if c["name"] == channel.stream)
    assert any(covers(subject, example(channel)) for subject in config["subjects"])


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda c: c.name)
@pytest.mark.parametrize("user", CLIENTS, ids=lambda u: u.name)
def test_only_its_senders_may_publish_on_a_channel(user: BusUser, channel: Channel) -> None:
    assert may_publish(user, channel) == (user.name in channel.all_senders())


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda c: c.name)
@pytest.mark.parametrize("user", CLIENTS, ids=lambda u: u.name)
def test_only_its_receivers_may_hear_a_channel(user: BusUser, channel: Channel) -> None:
    receives = user.name in channel.receivers
    if channel.stream:
        assert may_read(user, channel.stream) == receives
    elif receives:
        assert may_subscribe(user, channel)
    if not receives and user.name != "operator":  # people may listen to everything on modbot.>
        assert not may_subscribe(user, channel)


@pytest.mark.parametrize("user", CLIENTS, ids=lambda u: u.name)
def test_a_user_may_publish_nothing_of_modbots_that_the_catalog_does_not_name(
    user: BusUser,
) -> None:
    for pattern in user.publish:
        if pattern.startswith(PUBLIC_PREFIXES):
            named = [c for c in CHANNELS if user.name in c.all_senders()]
            assert any(covers(pattern, example(channel)) for channel in named), pattern


@pytest.mark.parametrize("channel", [c for c in CHANNELS if c.reply], ids=lambda c: c.name)
def test_who_receives_a_request_may_answer_it(channel: Channel) -> None:
    assert channel.reply is not None
    assert set(channel.receivers) == set(channel.reply.senders)
    assert all(accounts.USER_OF_NAME[name].answers for name in channel.receivers)


def test_a_user_that_answers_nothing_may_not_answer() -> None:
    answering = {name for channel in CHANNELS if channel.reply for name in channel.reply.senders}
    assert {user.name for user in USERS if user.answers} == answering


def test_no_user_may_hear_or_say_anothers_inbox() -> None:
    for user in USERS:
        for other in USERS:
            inbox = f"{accounts.inbox_prefix(other.name)}.x.y"
            assert not any(covers(pattern, inbox) for pattern in (*user.publish, *user.subscribe))


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("modbot.in.*", "modbot.in.42", True),
        ("modbot.in.*", "modbot.in", False),
        ("modbot.in.*", "modbot.in.42.x", False),
        ("modbot.>", "modbot.in.42", True),
        ("modbot.>", "modbot", False),
        ("modbot.rpc.*.case.get", "modbot.rpc.42.case.list", False),
        ("modbot.in.*", "modbot.>", False),
    ],
)
def test_covers_is_the_servers_rule(pattern: str, subject: str, expected: bool) -> None:
    assert covers(pattern, subject) is expected
