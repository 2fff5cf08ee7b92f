"""Replaying a log gives byte-equal state, whatever the batches and the crashes."""

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.engine import Engine
from components.gateway.engine.model import LoggedInput
from components.gateway.engine.schema import open_database
from contracts.inputs import SkipInput
from tests.unit.gateway.engine.support import (
    ADMIN_ROLE,
    GUILD,
    MEMBER,
    MOD_LOG,
    OPERATOR,
    OTHER_GUILD,
    T0,
    Log,
    message,
    snapshot,
    snowflake,
)

TEXTS = (
    "hello there",
    "free nitro claim gift reward @everyone",
    "same words everywhere",
    "verify your steam gift at https://evil.example/a_b",
    "hiring remote",
    "",
    "z̸̡̢̛̗̘a̸̡̢̛̗̘l̸̡̢̛̗̘g̸̡̢̛̗̘o",
)
AUTHORS = (MEMBER, snowflake(T0 - 3_600_000), snowflake(T0 - 100_000_000, 7))
GUILDS = (GUILD, OTHER_GUILD)
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"mod_log_channel": MOD_LOG, "signals": {"share": True}},
    {"mod_log_channel": MOD_LOG, "spam": {"honeypot_channels": ["502"], "kick_after_reports": 1}},
    {"spam": {"thresholds": {"low": 9, "medium": 3}}},
    {"restricted_role": "3002", "spam": {"tracker_retention_s": 300}},
)

small = st.integers(0, 5)
posts = st.fixed_dictionaries(
    {
        "text": st.sampled_from(TEXTS),
        "author": st.sampled_from(AUTHORS),
        "channel": st.sampled_from(("500", "501", "502", "503")),
        "roles": st.sampled_from(([], [ADMIN_ROLE])),
        "number": st.integers(1, 9),
    }
)
operations = st.one_of(
    st.tuples(st.just("post"), posts),
    st.tuples(st.just("edit"), posts),
    st.tuples(st.just("caught up"), st.tuples(posts, st.integers(0, 5))),
    st.tuples(st.just("caught up audit"), st.integers(1, 3)),
    st.tuples(st.just("settings"), st.sampled_from(SETTINGS)),
    st.tuples(st.just("result"), st.tuples(small, st.sampled_from(("done", "failed", "parked")))),
    st.tuples(st.just("timer"), small),
    st.tuples(st.just("stale timer"), small),
    st.tuples(st.just("repeat"), small),
    st.tuples(st.just("again"), small),
    st.tuples(st.just("published"), st.tuples(st.integers(0, 40), small)),
    st.tuples(st.just("open"), small),
    st.tuples(st.just("signal"), st.sampled_from(AUTHORS)),
    st.tuples(st.just("foreign"), small),
    st.tuples(st.just("garbage"), st.binary(max_size=30)),
    st.tuples(st.just("malformed"), small),
    st.tuples(st.just("unknown"), small),
    st.tuples(st.just("session"), small),
    st.tuples(st.just("audit"), st.sampled_from((20, 22, 23, 24, 25))),
    st.tuples(st.just("interaction"), small),
    st.tuples(st.just("gap"), small),
)
scripts = st.lists(
    st.tuples(st.sampled_from((0, 0, 0, 1)), st.integers(0, 60_000), operations),
    min_size=5,
    max_size=45,
)


def write(log: Log, operation: str, value: Any) -> None:
    """Append one input to the log and apply it: what comes next may depend on the state."""
    if operation in ("post", "edit"):
        data = message(
            value["text"],
            guild=log.guild,
            at=T0 + value["number"] * 1000,
            channel=value["channel"],
            author=value["author"],
            roles=value["roles"],
            number=value["number"],
        )
        log.dispatch("MESSAGE_CREATE" if operation == "post" else "MESSAGE_UPDATE", data)
    elif operation == "caught up":
        posted, which = value
        data = message(
            posted["text"],
            guild=log.guild,
            at=T0 + posted["number"] * 1000,
            channel=posted["channel"],
            author=posted["author"],
            roles=posted["roles"],
            number=posted["number"],
        )
        session = "s1" if which == 0 else f"s{which}"
        log.catch_up("MESSAGE_CREATE", data, session=session, sequence=which + 1)
    elif operation == "caught up audit":
        entry = {
            "id": str(value),
            "guild_id": log.guild,
            "action_type": 22,
            "target_id": MEMBER,
            "user_id": "42",
        }
        log.catch_up("GUILD_AUDIT_LOG_ENTRY_CREATE", entry)
        log.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", entry)
    elif operation == "settings":
        log.put_settings(value)
    elif operation == "result":
        pending = log.pending()
        if pending:
            index, outcome = value
            effect = pending[index % len(pending)]
            code = 0 if outcome == "done" else (10003, 50013)[index % 2]
            log.settle(
                effect,
                outcome,
                code=code,
                message_id=snowflake(log.now, index),
                reached="true",
                dm_claimed="true",
            )
    elif operation in ("timer", "stale timer"):
        for timer in log.engine.timers(log.guild):
            log.fire(timer.timer, timer.armed_by)
            if operation == "stale timer":
                log.fire(timer.timer, timer.armed_by)
    elif operation == "repeat":
        earlier = log.items[-1 - value % len(log.items)]
        log.add(earlier.data, earlier.message_id)
    elif operation == "again":
        earlier = log.items[-1 - value % len(log.items)]
        log.add(earlier.data, "")
    elif operation == "published":
        log.publish(*value)
    elif operation == "open":
        log.open(value + 1)
    elif operation == "signal":
        log.signal(value)
    elif operation == "foreign":
        log.dispatch("MESSAGE_CREATE", message(guild="3333"))
    elif operation == "garbage":
        log.add(value)
    elif operation == "malformed":
        log.dispatch("MESSAGE_CREATE", {"guild_id": log.guild, "id": value})
    elif operation == "unknown":
        log.dispatch("TYPING_START", {"guild_id": log.guild})
    elif operation == "session":
        log.dispatch("GUILD_CREATE", snapshot(log.guild), session=f"s{value}", sequence=value + 1)
    elif operation == "audit":
        log.dispatch(
            "GUILD_AUDIT_LOG_ENTRY_CREATE",
            {
                "guild_id": log.guild,
                "action_type": value,
                "target_id": MEMBER,
                "user_id": "42",
                "changes": [
                    {
                        "key": "communication_disabled_until",
                        "new_value": "2030-01-01T00:00:00+00:00",
                    },
                    {"key": "$remove", "new_value": [{"id": "3002"}]},
                ],
            },
        )
    elif operation == "interaction":
        log.interact(
            {
                "id": snowflake(log.now, value),
                "application_id": "9002",
                "type": 2,
                "token": "t",
                "guild_id": log.guild,
                "member": {"permissions": "8192"},
                "data": {
                    "name": "case",
                    "options": [
                        {
                            "name": "view",
                            "type": 1,
                            "options": [{"name": "number", "type": 4, "value": value}],
                        }
                    ],
                },
            }
        )
    elif operation == "gap":
        log.session_sequence += 1


def record(script: list[tuple[int, int, tuple[str, Any]]]) -> tuple[list[LoggedInput], list[bytes]]:
    """Write the script's log one input at a time; the inputs and each guild's dump."""
    database = open_database(":memory:")
    logs = [Log(guild=guild, database=database) for guild in GUILDS]
    items: list[LoggedInput] = []
    for log in logs:
        items += log.items
    for which, later, (operation, value) in script:
        log = logs[which]
        log.now += later
        known = len(log.items)
        write(log, operation, value)
        items += log.items[known:]
    dumps = [log.dump() for log in logs]
    database.close()
    return items, dumps


def apply_crashing(
    path: Path, items: list[LoggedInput], sizes: list[int], crashes: list[int]
) -> list[bytes]:
    """Apply in batches; a crash undoes a batch part-way and may close the database."""
    database, engine = _start(path)
    position = batch = 0
    while position < len(items):
        size = sizes[batch % len(sizes)]
        crash = crashes[batch % len(crashes)]
        batch += 1
        database.execute("BEGIN IMMEDIATE")
        chunk = items[position : position + size]
        dies_after = crash if 0 < crash <= len(chunk) and batch <= 2 * len(items) else None
        for done, item in enumerate(chunk, 1):
            engine.apply(item)
            if done == dies_after:
                break
        if dies_after is None:
            database.execute("COMMIT")
            position += len(chunk)
            continue
        if crash % 2:
            database.execute("ROLLBACK")
        else:
            database.close()
            database, engine = _start(path)
    dumps = [canonical_dump(database, guild) for guild in GUILDS]
    database.close()
    return dumps


def _start(path: Path) -> tuple[sqlite3.Connection, Engine]:
    database = open_database(path)
    engine = Engine(database)
    for guild in GUILDS:
        engine.create(guild, "g1")
    return database, engine


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    script=scripts,
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    crashes=st.lists(st.integers(0, 8), min_size=1, max_size=5),
)
def test_replay_in_any_batches_with_any_crashes_gives_equal_bytes(
    script: list[tuple[int, int, tuple[str, Any]]], sizes: list[int], crashes: list[int]
) -> None:
    items, dumps = record(script)
    if all(0 < crash <= min(sizes) for crash in crashes):
        crashes = [*crashes, 0]  # somebody must get through
    with TemporaryDirectory() as folder:
        assert apply_crashing(Path(folder) / "pod.db", items, sizes, crashes) == dumps


def test_a_dump_tells_apart_states_that_differ() -> None:
    one, two = Log(), Log()
    one.post("hello")
    two.post("hello!")
    assert one.dump() != two.dump()


def test_two_replays_that_skip_by_the_logs_word_agree() -> None:
    log = Log()
    poison = log.item(b'{"kind":"dispatch"}')
    log.engine.park(log.guild, poison.sequence, "killed the pod twice")
    log.skip(poison)
    log.add(SkipInput(sequence=poison.sequence, reason="it kills", actor=OPERATOR))

    replayed = Log(opened=False)
    for item in (*log.items, poison):
        assert item.guild == GUILD
    for item in sorted((*log.items, poison), key=lambda item: item.sequence):
        if item.sequence == poison.sequence:
            replayed.skip(item)
        else:
            replayed.engine.apply(item)
    assert replayed.dump() == log.dump()
