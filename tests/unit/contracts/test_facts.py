"""Facts on the wire are CloudEvents 1.0 in the NATS binding's binary mode.

The rules are those of the CloudEvents specification 1.0.2 and its NATS protocol binding.
"""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import facts
from contracts.ids import Epoch, GuildId, Sequence

REQUIRED = {"ce-id", "ce-source", "ce-specversion", "ce-type"}
OPTIONAL = {"ce-datacontenttype", "ce-dataschema", "ce-subject", "ce-time"}
guilds = st.integers(min_value=1, max_value=2**63 - 1).map(lambda n: GuildId(str(n)))
positions = st.integers(min_value=1, max_value=2**53)


def headers(
    kind: type[facts.Fact] = facts.CaseOpened,
    guild: str = "42",
    sequence: int = 7,
    index: int = 1,
    time_ms: int = 1_764_000_000_123,
    subject: str = "",
) -> dict[str, str]:
    return facts.headers_of(
        kind,
        guild=GuildId(guild),
        sequence=Sequence(sequence),
        index=index,
        epoch=Epoch(3),
        time_ms=time_ms,
        subject=subject,
    )


@pytest.mark.parametrize("kind", facts.FACTS, ids=lambda f: f.type)
def test_every_required_attribute_is_there_and_not_empty(kind: type[facts.Fact]) -> None:
    fields = headers(kind)
    assert all(fields[name] for name in REQUIRED)
    assert fields["ce-specversion"] == "1.0"
    assert fields["ce-datacontenttype"] == "application/json"
    assert fields["ce-type"] == f"modbot.{kind.type}.v{kind.version}"


@pytest.mark.parametrize("subject", ["", "80351110224678912"])
def test_attributes_are_the_specifications_own_and_none_is_empty(subject: str) -> None:
    fields = headers(subject=subject)
    attributes = {name for name in fields if name.startswith("ce-")}
    assert attributes <= REQUIRED | OPTIONAL
    # "MUST consist of lower-case letters or digits"
    assert all(re.fullmatch(r"ce-[a-z0-9]+", name) for name in attributes)
    assert all(fields[name] for name in attributes)
    assert ("ce-subject" in fields) is bool(subject)


@given(st.integers(min_value=0, max_value=4_102_444_800_000))
def test_time_is_rfc_3339_and_names_the_same_millisecond(time_ms: int) -> None:
    text = headers(time_ms=time_ms)["ce-time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    moment = datetime.fromisoformat(text)
    assert round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000) == time_ms


@given(guilds, positions, st.integers(min_value=0, max_value=1000))
def test_source_and_id_name_one_fact_and_are_the_same_for_every_owner(
    guild: GuildId, sequence: int, index: int
) -> None:
    fields = headers(guild=guild, sequence=sequence, index=index)
    assert fields == headers(guild=guild, sequence=sequence, index=index)
    assert fields["ce-id"] != headers(guild=guild, sequence=sequence, index=index + 1)["ce-id"]
    assert fields["ce-id"] != headers(guild=guild, sequence=sequence + 1, index=index)["ce-id"]
    assert fields["ce-source"] == f"/modbot/guilds/{guild}"
    assert fields["Modbot-Input-Sequence"] == str(sequence)
    assert fields["Modbot-Input-Index"] == str(index)
    assert fields["Modbot-Epoch"] == "3"


def test_values_need_no_encoding_in_a_header() -> None:
    # NATS binding 3.1.3.2: printable ASCII but space, double quote and percent goes as it is.
    assert all(re.fullmatch(r"[!#$&-~]+", value) for value in headers(subject="80351").values())


def test_types_are_unique_and_past_tense_in_the_subject() -> None:
    assert len(facts.FACT_OF_TYPE) == len(facts.FACTS)
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", kind) for kind in facts.FACT_OF_TYPE)
