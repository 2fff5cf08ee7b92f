"""The log's mechanics: order, ids, sessions, quarantine, epochs, timers, results, marks."""

import sqlite3

import msgspec
import pytest

from components.gateway.engine import applied_ids
from components.gateway.engine.errors import (
    GuildParked,
    MisuseOfEngine,
    OutOfOrder,
    UnknownGuild,
    UnsupportedVersion,
)
from components.gateway.engine.events import EVENTS
from components.gateway.engine.policies import mirror
from components.gateway.engine.schema import GUILD_TABLES, open_database
from contracts.facts import InputQuarantined
from contracts.ids import GuildId, Sequence
from contracts.inputs import Actor, CommandReceived, SkipInput
from contracts.requests import ListQuarantine
from tests.unit.gateway.engine.support import (
    BOT,
    GUILD,
    MOD_LOG,
    OPERATOR,
    OTHER_GUILD,
    T0,
    Log,
    facts,
    kinds,
    message,
    snapshot,
    snowflake,
)

SPAM = "free nitro claim gift reward airdrop @everyone"


def test_an_input_at_or_below_the_checkpoint_is_a_bug_of_the_caller() -> None:
    log = Log()
    with pytest.raises(OutOfOrder):
        log.engine.apply(log.items[-1])


def test_a_guild_without_rows_is_a_bug_of_the_caller() -> None:
    log = Log()
    with pytest.raises(UnknownGuild):
        log.engine.apply(msgspec.structs.replace(log.items[0], guild=OTHER_GUILD))


def test_sequences_of_a_guild_may_have_gaps() -> None:
    log = Log()
    log.sequence += 500
    assert log.post().status == "applied"
    checkpoint = log.engine.checkpoint(GUILD)
    assert checkpoint is not None
    assert checkpoint.sequence == log.sequence


def test_time_never_goes_back() -> None:
    log = Log()
    log.now = T0 + 5000
    log.post()
    log.now = T0
    log.dispatch("MESSAGE_CREATE", message())
    checkpoint = log.engine.checkpoint(GUILD)
    assert checkpoint is not None
    assert checkpoint.time_ms == T0 + 5000


def test_a_repeated_dispatch_is_ignored_even_under_another_id() -> None:
    log = Log()
    log.post(SPAM)
    again = log.add(log.items[-1].data, "another id")
    assert again.status == "ignored"
    assert again.effects == ()
    assert len(log.cases()) == 1


def test_a_repeated_input_is_ignored_by_its_id() -> None:
    log = Log({"signals": {"share": True}})
    log.signal("42")
    again = log.add(log.items[-1].data, log.items[-1].message_id)
    assert again.status == "ignored"
    assert len(log.pending("member.timeout")) == 1


def test_applied_ids_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applied_ids, "KEPT_IDS", 5)
    log = Log()
    for epoch in range(2, 12):
        log.open(epoch)
    ids = [row[0] for row in log.rows("SELECT id FROM applied_ids ORDER BY position")]
    assert ids == [item.message_id for item in log.items[-5:]]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "unknown"),
        (b"\xff\xfe", "unknown"),
        (b"[]", "unknown"),
        (b'{"kind":"weather"}', "weather"),
        (b'{"kind":"timer_fired"}', "timer_fired"),
        (b'{"kind":"timer_fired","timer":"x","armed_by":99999999999999999999}', "timer_fired"),
        (b"[" * 5000, "unknown"),
    ],
)
def test_bytes_that_are_no_input_are_quarantined_and_the_guild_goes_on(
    data: bytes, kind: str
) -> None:
    log = Log()
    applied = log.add(data)
    assert applied.status == "quarantined"
    listed = log.read(ListQuarantine())
    assert [(row.sequence, row.kind) for row in listed.inputs] == [(log.sequence, kind)]  # type: ignore[attr-defined]
    assert listed.inputs[0].reason  # type: ignore[attr-defined]
    (fact,) = facts(applied)
    assert isinstance(fact, InputQuarantined)
    assert fact.input_sequence == log.sequence
    assert log.post().status == "applied"
    assert log.status().quarantined == 1


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("MESSAGE_CREATE", {"guild_id": GUILD}),
        ("MESSAGE_CREATE", {**message(), "id": "0"}),
        ("MESSAGE_CREATE", {**message(), "id": "99999999999999999999"}),
        ("MESSAGE_CREATE", {**message(), "content": 5}),
        ("MESSAGE_CREATE", {**message(), "member": {"joined_at": "yesterday"}}),
        ("MESSAGE_CREATE", {**message(), "member": {"joined_at": "2020-01-01T00:00:00"}}),
        ("MESSAGE_CREATE", None),
        ("MESSAGE_CREATE", []),
        ("GUILD_CREATE", {"id": GUILD, "roles": [{"id": GUILD, "permissions": "all"}]}),
        ("TYPING_START", 7),
        ("GUILD_ROLE_CREATE", {"guild_id": GUILD, "role": {"id": "5", "position": 2**70}}),
    ],
)
def test_a_malformed_dispatch_is_quarantined_without_breaking_the_chain(
    event: str, data: object
) -> None:
    log = Log()
    before = log.rows("SELECT * FROM roles")
    applied = log.dispatch(event, data)
    assert applied.status == "quarantined"
    assert log.rows("SELECT * FROM roles") == before
    assert log.post().alarm == ""
    assert log.status().chain_breaks == 0


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_a_dispatch_of_another_guild_is_quarantined(event: str) -> None:
    log = Log()
    data = {
        **message(guild="3333"),
        **({"id": "3333"} if event in ("GUILD_CREATE", "GUILD_UPDATE") else {}),
        "role": {"id": "5"},
        "role_id": "5",
        "user": {"id": "5"},
        "action_type": 20,
    }
    data["type"] = 0
    applied = log.dispatch(event, data)
    assert applied.status == "quarantined"
    assert "foreign guild" in applied.reason


def test_a_foreign_interaction_is_quarantined() -> None:
    log = Log()
    for guild, words in (("3333", "foreign guild"), (None, "without a guild")):
        applied = log.interact({"id": snowflake(T0), "guild_id": guild})
        assert applied.status == "quarantined"
        assert words in applied.reason


def test_an_event_the_engine_does_not_know_is_ignored() -> None:
    log = Log()
    applied = log.dispatch("TYPING_START", {"guild_id": GUILD})
    assert applied.status == "ignored"
    assert log.status().quarantined == 0


def test_the_quarantine_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.gateway.engine.engine.KEPT_QUARANTINE", 3)
    log = Log()
    for _ in range(6):
        log.add(b"?")
    kept = [row[0] for row in log.rows("SELECT sequence FROM quarantine ORDER BY sequence")]
    assert kept == [log.sequence - 2, log.sequence - 1, log.sequence]
    assert log.status().quarantined == 6


def test_a_broken_chain_counts_and_raises_an_alarm_and_the_dispatch_still_counts() -> None:
    log = Log()
    log.session_sequence += 3
    applied = log.post(SPAM)
    assert applied.status == "applied"
    assert "broken chain" in applied.alarm
    assert log.status().chain_breaks == 1
    assert log.post().alarm == ""


def test_a_sender_that_cannot_know_the_previous_dispatch_breaks_no_chain() -> None:
    log = Log()
    applied = log.dispatch("MESSAGE_CREATE", message(), sequence=50, previous=None)
    assert applied.alarm == ""


def test_a_dispatch_of_a_session_that_is_not_current_is_ignored() -> None:
    log = Log()
    applied = log.dispatch("MESSAGE_CREATE", message(SPAM), session="late", sequence=9)
    assert applied.status == "ignored"
    assert log.cases() == []


def test_a_session_becomes_current_by_its_guild_create_and_an_older_one_never_returns() -> None:
    log = Log()
    log.dispatch("GUILD_CREATE", snapshot(), session="s2", sequence=1)
    assert log.post(SPAM).status == "ignored"
    late = log.dispatch("GUILD_CREATE", snapshot(name="Old"), session="s1", sequence=90)
    assert late.status == "ignored"
    assert log.status().name == "Gardeners"
    now = log.dispatch("MESSAGE_CREATE", message(SPAM), session="s2", sequence=2, previous=1)
    assert now.status == "applied"
    assert now.alarm == ""


def test_dispatches_before_the_snapshot_are_ignored_and_keep_the_chain() -> None:
    log = Log(opened=False)
    log.open(1)
    early = log.dispatch("MESSAGE_CREATE", message(SPAM), sequence=4)
    assert early.status == "ignored"
    snapshot_of = log.dispatch("GUILD_CREATE", snapshot(), sequence=5, previous=4)
    assert (snapshot_of.status, snapshot_of.alarm) == ("applied", "")


def test_an_unavailable_guild_neither_opens_a_session_nor_forgets_anything() -> None:
    log = Log()
    log.dispatch("GUILD_CREATE", {"id": GUILD, "unavailable": True}, session="s2", sequence=1)
    assert log.post().status == "applied"
    assert log.rows("SELECT count(*) FROM roles") == [(5,)]


def test_sessions_are_bounded() -> None:
    log = Log()
    for number in range(40):
        log.dispatch("MESSAGE_CREATE", message(), session=f"x{number}", sequence=1)
    assert log.rows("SELECT count(*) FROM sessions") <= [(17,)]
    assert log.post().status == "applied"


def test_a_snapshot_in_parts_replaces_and_then_adds() -> None:
    log = Log()
    role = {"id": "71", "name": "new", "permissions": "0", "position": 1}
    first = snapshot(roles=[role], channels=[], name="Renamed")
    second = snapshot(roles=[{**role, "id": "72"}], channels=[], name="Renamed")
    log.dispatch("MESSAGE_CREATE", message(), session="s2", sequence=0)
    for part, data in ((1, first), (2, second)):
        applied = log.dispatch(
            "GUILD_CREATE", data, session="s2", sequence=1, previous=0, part=part, parts=2
        )
        assert (applied.status, applied.alarm) == ("applied", "")
    repeated = log.dispatch("GUILD_CREATE", second, session="s2", sequence=1, part=2, parts=2)
    assert repeated.status == "ignored"
    assert log.rows("SELECT role_id FROM roles ORDER BY role_id") == [("71",), ("72",)]
    assert log.status().name == "Renamed"


def test_roles_channels_and_the_owner_follow_the_log() -> None:
    log = Log()
    log.dispatch("GUILD_ROLE_CREATE", {"guild_id": GUILD, "role": {"id": "71", "name": "a"}})
    log.dispatch("GUILD_ROLE_UPDATE", {"guild_id": GUILD, "role": {"id": "71", "permissions": "8"}})
    assert log.rows("SELECT administrator FROM roles WHERE role_id = '71'") == [(1,)]
    log.dispatch("GUILD_ROLE_DELETE", {"guild_id": GUILD, "role_id": "71"})
    assert log.rows("SELECT 1 FROM roles WHERE role_id = '71'") == []
    log.dispatch("CHANNEL_CREATE", {"guild_id": GUILD, "id": "81", "name": "a", "type": 0})
    log.dispatch("CHANNEL_UPDATE", {"guild_id": GUILD, "id": "81", "name": "b", "type": 0})
    assert log.rows("SELECT name FROM channels WHERE channel_id = '81'") == [("b",)]
    log.dispatch("CHANNEL_DELETE", {"guild_id": GUILD, "id": "81", "name": "b", "type": 0})
    assert log.rows("SELECT 1 FROM channels WHERE channel_id = '81'") == []
    log.dispatch("GUILD_UPDATE", {"id": GUILD, "name": "Renamed", "owner_id": "77"})
    assert log.rows("SELECT name, owner_id FROM guilds") == [("Renamed", "77")]


def test_our_own_messages_are_found_by_their_nonce_for_a_day() -> None:
    log = Log()
    own = message("x", author=BOT, nonce="n-1", number=5)
    log.dispatch("MESSAGE_CREATE", own)
    log.dispatch("MESSAGE_CREATE", message("x", nonce="theirs"))
    assert log.engine.message_of_nonce(GUILD, "n-1") == own["id"]
    assert log.engine.message_of_nonce(GUILD, "theirs") is None
    log.now += mirror.OWN_MESSAGES_KEPT_MS + 1
    log.dispatch("MESSAGE_CREATE", message("y", author=BOT, nonce="n-2", number=6))
    assert log.engine.message_of_nonce(GUILD, "n-1") is None


def test_step_6_an_opening_sets_the_epoch_and_a_lower_one_is_reported_but_not_kept() -> None:
    log = Log()
    assert log.open(7).opened_epoch == 7
    assert log.open(3).opened_epoch == 3
    checkpoint = log.engine.checkpoint(GUILD)
    assert checkpoint is not None
    assert checkpoint.epoch == 7


def test_a_version_this_code_does_not_know_stops_the_pod() -> None:
    log = Log()
    with pytest.raises(UnsupportedVersion):
        log.open(2, version=2)
    checkpoint = log.engine.checkpoint(GUILD)
    assert checkpoint is not None
    assert checkpoint.sequence == log.sequence - 1


def test_a_timer_fires_once_and_only_for_its_own_arming() -> None:
    log = Log()
    log.post()
    (timer,) = log.engine.timers(GUILD)
    assert timer.due_ms == log.now + 1800 * 1000
    assert log.fire(timer.timer, Sequence(timer.armed_by + 100)).status == "ignored"
    log.now = timer.due_ms
    assert log.fire(timer.timer, timer.armed_by).status == "applied"
    assert log.add(log.items[-1].data, "").status == "ignored"
    assert log.engine.timers(GUILD) == []


def test_the_tracker_forgets_on_a_quiet_guild_and_rearms_for_the_rest() -> None:
    log = Log()
    log.post(number=1)
    (first,) = log.engine.timers(GUILD)
    log.post(number=2, at=T0 + 600_000)
    assert log.engine.timers(GUILD) == [first]
    log.now = first.due_ms
    applied = log.fire(first.timer, first.armed_by)
    assert log.rows("SELECT count(*) FROM spam_tracker") == [(1,)]
    (second,) = applied.timers
    assert second.due_ms == T0 + 600_000 + 1_800_000
    log.now = second.due_ms
    log.fire(second.timer, second.armed_by)
    assert log.rows("SELECT count(*) FROM spam_tracker") == [(0,)]


def test_the_first_result_of_an_effect_wins() -> None:
    log = Log()
    log.post(SPAM)
    (effect,) = log.pending("message.delete")
    assert log.settle(effect, "failed", code=50013, words="Missing Permissions").settled == (
        effect.sequence,
        effect.index,
    )
    assert log.settle(effect, "done").status == "ignored"
    assert log.settle(effect, "done", under="other").status == "ignored"
    assert log.case(1).status == "failed"
    assert log.case(1).error == "message.delete: Missing Permissions (50013)"


def test_a_parked_effect_stays_visible_and_is_not_sent() -> None:
    log = Log()
    log.post(SPAM)
    (effect,) = log.pending()
    log.settle(effect, "parked", words="in doubt")
    assert log.settle(effect, "parked", under="again").status == "ignored"
    assert log.pending() == []
    assert (log.status().outbox_pending, log.status().outbox_parked) == (0, 1)
    assert log.case(1).status == "pending"
    assert "in doubt" in log.case(1).error


def test_removals_go_before_posts() -> None:
    log = Log({"mod_log_channel": MOD_LOG})
    log.post("free nitro claim gift reward steam", number=1)
    log.post(SPAM, number=2)
    lanes = [effect.lane for effect in log.pending()]
    assert lanes == sorted(lanes, reverse=True)
    assert lanes[0] == "urgent"
    assert lanes[-1] == "posts"


def test_facts_stay_until_the_mark_passes_them_and_the_mark_never_goes_back() -> None:
    log = Log()
    applied = log.post(SPAM)
    pending = log.engine.pending_facts(GUILD)
    assert tuple(pending) == applied.facts
    assert log.engine.facts_mark(GUILD) is None
    published = log.publish(applied.sequence, 0)
    assert published.facts_published == (applied.sequence, 0)
    assert log.engine.pending_facts(GUILD) == pending[1:]
    log.publish(applied.sequence, 9)
    log.publish(applied.sequence, 1)
    assert log.engine.facts_mark(GUILD) == (applied.sequence, 9)
    assert log.engine.pending_facts(GUILD) == []


def test_a_mark_ahead_of_the_log_is_quarantined() -> None:
    log = Log()
    assert log.publish(log.sequence + 1, 0).status == "quarantined"
    assert log.publish(log.sequence, 0).status == "applied"


def test_facts_and_effects_carry_the_inputs_trace() -> None:
    log = Log()
    applied = log.post(SPAM)
    trace = log.items[-1].traceparent
    assert {effect.traceparent for effect in applied.effects} == {trace}
    assert {fact.traceparent for fact in applied.facts} == {trace}


def test_a_parked_guild_applies_nothing_until_the_input_is_skipped() -> None:
    log = Log()
    poison = log.item(b"{}")
    before = log.dump()
    log.engine.park(GUILD, poison.sequence, "killed the pod twice")
    assert log.dump() == before
    with pytest.raises(GuildParked):
        log.engine.apply(poison)
    assert log.status().parked_at == poison.sequence
    skipped = log.skip(poison, "known bug")
    assert skipped.status == "quarantined"
    assert skipped.reason == "skipped by operator ops: known bug"
    assert log.status().parked_at is None
    assert log.post().status == "applied"


def test_skipping_a_dispatch_breaks_no_chain_and_an_unneeded_skip_raises_an_alarm() -> None:
    log = Log()
    log.post(SPAM)
    poison = log.items[-1]
    fresh = Log()
    fresh.sequence, fresh.session_sequence = poison.sequence, 2
    fresh.skip(poison)
    assert fresh.cases() == []
    assert fresh.post().alarm == ""
    word = SkipInput(sequence=poison.sequence, reason="r", actor=OPERATOR)
    assert fresh.add(word).alarm == ""
    assert "was applied" in log.add(word).alarm
    with pytest.raises(MisuseOfEngine):
        log.engine.skip(log.item(b"{}"), word)


def test_dropping_a_guild_leaves_nothing_of_it_and_everything_of_the_others() -> None:
    log = Log({"mod_log_channel": MOD_LOG})
    other = Log({"mod_log_channel": MOD_LOG}, guild=OTHER_GUILD, database=log.database)
    for each in (log, other):
        each.post(SPAM)
        each.add(b"?")
    log.engine.park(GUILD, Sequence(9), "x")
    kept = other.dump()
    log.engine.drop(GUILD)
    assert log.dump() == b""
    assert log.rows("SELECT * FROM parked") == []
    assert other.dump() == kept
    assert log.engine.checkpoint(GUILD) is None
    assert log.engine.guilds() == [OTHER_GUILD]


def test_every_table_is_a_guilds_or_the_pods() -> None:
    database = open_database(":memory:")
    tables = {
        name
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(("sqlite_", "_sqlite"))
    }
    assert tables - set(GUILD_TABLES) == {"pod_meta", "parked"}
    for table in GUILD_TABLES:
        first_key = database.execute(
            "SELECT name FROM pragma_table_info(?) WHERE pk = 1", (table,)
        ).fetchone()
        assert first_key == ("guild_id",), table


def test_an_error_of_the_database_propagates_and_leaves_nothing_behind() -> None:
    log = Log()
    before = log.dump()
    log.database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON cases BEGIN SELECT raise(FAIL, 'disk'); END"
    )
    with pytest.raises(sqlite3.Error):
        log.post(SPAM)
    assert log.dump() == before
    assert not log.database.in_transaction


def test_opening_a_database_again_keeps_its_rows(tmp_path: object) -> None:
    path = f"{tmp_path}/pod.db"
    log = Log(database=open_database(path))
    dump = log.dump()
    log.database.close()
    reopened = open_database(path)
    assert Log(database=reopened, opened=False).dump() == dump
    (journal,) = reopened.execute("PRAGMA journal_mode").fetchone()
    assert journal == "wal"


def test_creating_a_guild_again_changes_nothing() -> None:
    log = Log()
    before = log.dump()
    log.engine.create(GUILD, "another generation")
    assert log.dump() == before


def test_a_malformed_command_is_still_answered() -> None:
    log = Log()
    command = CommandReceived(
        request_id="r",  # type: ignore[arg-type]
        verb="settings.put",
        actor=Actor(kind="operator", id="ops"),
        arguments=msgspec.Raw(b"[]"),
    )
    reply = log.add(command).reply
    assert reply is not None
    assert reply.error is not None
    assert reply.error.code == 400


def test_kinds_of_a_quarantined_input_ask_for_nothing() -> None:
    log = Log()
    assert kinds(log.add(b"?")) == []
    assert log.engine.guilds() == [GuildId(GUILD)]
