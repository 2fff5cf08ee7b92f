"""Whatever a dispatch, interaction or command holds, the engine goes on."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.gateway.engine.events import EVENTS
from tests.unit.gateway.engine.support import GUILD, MEMBER, MOD_LOG, T0, Log, message, snowflake

ids = st.sampled_from((GUILD, MEMBER, MOD_LOG, "0", "-1", "x", "9" * 19, "9" * 30, "", "01"))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    ids,
    st.sampled_from(("2027-01-15T09:00:00Z", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59Z")),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(("id", "name", "type", "url", "title", "message", "key", "new_value")),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
FIELDS = [
    "id",
    "author",
    "member",
    "content",
    "embeds",
    "attachments",
    "mentions",
    "type",
    "webhook_id",
    "nonce",
    "edited_timestamp",
    "message_reference",
    "message_snapshots",
    "poll",
    "reactions",
    "sticker_items",
    "roles",
    "channels",
    "role",
    "role_id",
    "owner_id",
    "name",
    "modbot",
    "unavailable",
    "user",
    "action_type",
    "target_id",
    "user_id",
    "reason",
    "changes",
    "parent_id",
    "token",
    "data",
    "application_id",
    "locale",
    "options",
    "guild_id",
]
SETTINGS = {"mod_log_channel": MOD_LOG, "signals": {"share": True}, "restricted_role": "3002"}


def check(log: Log) -> None:
    """The guild still works."""
    author = snowflake(T0 - 10**11, log.sequence)
    assert log.post("@here @everyone", author=author).effects
    assert log.status().applied == log.sequence


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(sorted(EVENTS)), st.sampled_from(FIELDS), values), max_size=12
    )
)
def test_no_dispatch_stops_the_pod(changes: list[tuple[str, str, Any]]) -> None:
    log = Log(SETTINGS)
    for event, field, value in changes:
        whole = {
            **message("@here free"),
            "role": {"id": "5"},
            "role_id": "5",
            "user": {"id": "5"},
            "action_type": 24,
            "target_id": MEMBER,
        }
        if event in ("GUILD_CREATE", "GUILD_UPDATE"):
            whole["id"] = GUILD
        applied = log.dispatch(event, {**whole, field: value})
        assert applied.status in ("applied", "ignored", "quarantined")
    log.dispatch("GUILD_UPDATE", {"id": GUILD, "name": "x", "owner_id": "77"})
    check(log)


@settings(max_examples=100, deadline=None)
@given(field=st.sampled_from(FIELDS), value=values, document=values)
def test_no_interaction_or_command_stops_the_pod(field: str, value: Any, document: Any) -> None:
    log = Log(SETTINGS)
    whole = {
        "id": snowflake(T0),
        "application_id": "9002",
        "type": 2,
        "token": "t",
        "guild_id": GUILD,
        "member": {"permissions": "8"},
        "data": {"name": "case", "options": [{"name": "view", "options": []}]},
    }
    applied = log.interact({**whole, field: value})
    assert applied.status in ("applied", "quarantined")
    if applied.status == "applied":
        assert len(applied.effects) == 1
    reply = log.put_settings(document).reply
    assert reply is not None
    assert (reply.error is None) == (document == {})
    check(log)


integers = st.one_of(
    st.integers(min_value=-(2**70), max_value=2**70), st.integers(min_value=-2, max_value=12)
)


@settings(max_examples=100, deadline=None)
@example(numbers=[(5, -(2**63) - 1, 1)])
@given(numbers=st.lists(st.tuples(integers, integers, integers), max_size=6))
def test_no_place_in_a_session_stops_the_pod(numbers: list[tuple[int, int, int]]) -> None:
    log = Log(SETTINGS)
    for sequence, previous, part in numbers:
        applied = log.dispatch(
            "MESSAGE_CREATE", message(), sequence=sequence, previous=previous, part=part
        )
        assert applied.status in ("applied", "ignored", "quarantined")
