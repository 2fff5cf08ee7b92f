"""Subjects: what is built is taken apart again, and nothing else is."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import subjects
from contracts.facts import FACT_OF_TYPE
from contracts.ids import GuildId, InteractionId
from contracts.requests import REQUEST_OF_VERB
from contracts.subjects import InvalidSubject

guilds = st.integers(min_value=1, max_value=2**63 - 1).map(lambda n: GuildId(str(n)))
tails = st.from_regex(r"[a-z_]+(\.[a-z_]+)*", fullmatch=True)
hostile = st.text(alphabet="0123456789.*>$ \t\r\n-x", max_size=24)

PARSERS: list[Callable[[str], object]] = [
    subjects.guild_of_input,
    subjects.guild_and_verb,
    subjects.guild_and_event,
]


@given(guilds)
def test_a_guilds_log_names_its_guild(guild: GuildId) -> None:
    assert subjects.guild_of_input(subjects.inputs(guild)) == guild
    assert subjects.guild_of_input(subjects.live(guild)) == guild


@given(guilds, tails)
def test_requests_and_events_are_taken_apart_as_they_were_built(guild: GuildId, tail: str) -> None:
    assert subjects.guild_and_verb(subjects.request(guild, tail)) == (guild, tail)
    assert subjects.guild_and_event(subjects.event(guild, tail)) == (guild, tail)


@given(hostile)
def test_a_parsed_guild_is_always_a_plain_number_and_builds_the_same_subject(token: str) -> None:
    subject = f"modbot.in.{token}"
    try:
        guild = subjects.guild_of_input(subject)
    except InvalidSubject:
        return
    assert guild.isascii()
    assert guild.isdigit()
    assert subjects.inputs(guild) == subject


@given(hostile, tails)
def test_a_hostile_guild_never_reaches_a_verb(token: str, verb: str) -> None:
    try:
        guild, found = subjects.guild_and_verb(f"modbot.rpc.{token}.{verb}")
    except InvalidSubject:
        return
    assert guild.isdigit()
    assert subjects.request(guild, found) == f"modbot.rpc.{token}.{verb}"


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "subject",
    [
        "",
        "modbot",
        "modbot.in",
        "modbot.in.",
        "modbot.in.*",
        "modbot.in.>",
        "modbot.in.42.x",
        "modbot.in.-42",
        "modbot.rpc.42",
        "modbot.rpc.42.",
        "modbot.rpc.*.case.get",
        "modbot.rpc.0.case.get",
        "modbot.events.42",
        "modbot.events.42.",
        "modbot.config.status",
        "other.in.42",
        "$KV.guilds.42",
    ],
)
def test_every_other_subject_is_refused(parse: Callable[[str], object], subject: str) -> None:
    with pytest.raises(InvalidSubject):
        parse(subject)


def test_wildcards_of_one_guild_cover_what_is_built_for_it() -> None:
    guild = GuildId("42")
    for verb in REQUEST_OF_VERB:
        assert subjects.request(guild, verb).startswith(subjects.requests(guild)[:-1])
    for kind in FACT_OF_TYPE:
        assert subjects.event(guild, kind).startswith(subjects.events(guild)[:-1])
    answer = subjects.answer("shard", "shard-0", InteractionId("1"))
    assert answer.startswith(subjects.answers("shard", "shard-0")[:-1])
