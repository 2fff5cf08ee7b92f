"""``settings.put``: who may, what is checked, and that a repeated request is answered the same."""

from typing import Any

import pytest

from components.gateway.engine import replies
from components.gateway.engine.model import Applied
from contracts.facts import SettingsChanged
from contracts.inputs import Actor
from contracts.message import decode
from contracts.requests import GetSettings, SettingsView
from tests.unit.gateway.engine.support import GUILD, OPERATOR, Log, facts, tier


def view_of(applied: Applied) -> SettingsView:
    assert applied.reply is not None
    assert applied.reply.error is None, applied.reply.error
    return decode(applied.reply.body, SettingsView)


def code_of(applied: Applied) -> int:
    assert applied.reply is not None
    assert applied.reply.error is not None
    return applied.reply.error.code


def test_defaults_are_version_zero() -> None:
    view = Log().read(GetSettings())
    assert view == SettingsView(version=0, settings=view.settings)  # type: ignore[attr-defined]


def test_new_settings_are_a_version_with_its_author_and_a_fact_of_what_changed() -> None:
    log = Log()
    applied = log.put_settings({"spam": {"timeout_s": 60}, "mod_log_channel": "4000"})
    view = view_of(applied)
    assert (view.version, view.changed_ms, view.changed_by) == (1, log.now, OPERATOR)
    assert log.read(GetSettings()) == view
    (fact,) = facts(applied)
    assert isinstance(fact, SettingsChanged)
    assert fact.changed == ["mod_log_channel", "spam.timeout_s"]
    assert (fact.by_kind, fact.by, fact.settings_version) == ("operator", "ops", 1)


def test_settings_take_effect_with_the_next_input() -> None:
    log = Log()
    log.put_settings({"spam": {"enabled": False}})
    assert tier(log.post("@here @everyone")) is None
    log.put_settings({})
    assert tier(log.post("@here @everyone")) == "medium"
    assert log.rows("SELECT version FROM settings ORDER BY version") == [(1,), (2,)]


def test_the_same_settings_again_are_no_new_version() -> None:
    log = Log({"spam": {"timeout_s": 60}})
    applied = log.put_settings({"spam": {"timeout_s": 60}})
    assert view_of(applied).version == 1
    assert applied.facts == ()


@pytest.mark.parametrize("kind", ["user", "integrator"])
def test_only_operators_may_whatever_the_body_claims(kind: Any) -> None:
    log = Log()
    applied = log.put_settings({}, actor=Actor(kind=kind, id="5"))
    assert code_of(applied) == 403
    assert applied.facts == ()


def test_an_expected_version_that_is_not_in_force_is_a_conflict() -> None:
    log = Log({"mod_log_channel": "1"})
    assert code_of(log.put_settings({}, expected_version=0)) == 409
    assert view_of(log.put_settings({}, expected_version=1)).version == 2


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"spam": {"timeout_s": 1}}, "spam.timeout_s"),
        ({"spam": {"thresholds": {"low": 50}}}, "spam.thresholds"),
        ({"mod_log_channel": "general"}, "mod_log_channel"),
        ({"nonsense": 1}, "nonsense"),
        ([], "settings"),
    ],
)
def test_invalid_settings_name_the_field_and_change_nothing(document: Any, path: str) -> None:
    log = Log()
    applied = log.put_settings(document)
    assert code_of(applied) == 422
    assert applied.status == "applied"
    assert applied.reply is not None
    assert applied.reply.error is not None
    assert path in [field.path for field in applied.reply.error.fields]
    assert log.read(GetSettings()).version == 0  # type: ignore[attr-defined]


def test_a_body_with_unknown_fields_is_refused() -> None:
    assert code_of(Log().put_settings({}, surprise=1)) == 400


def test_an_unknown_verb_is_answered_as_such() -> None:
    for verb in ("settings.burn", "input.skip", "settings.get"):
        assert code_of(Log().command(verb, {})) == 405


def test_a_repeated_request_gets_the_reply_it_got() -> None:
    log = Log()
    first = log.put_settings({"mod_log_channel": "1"}, request="abc")
    log.put_settings({"mod_log_channel": "2"})
    by_request = log.put_settings({"mod_log_channel": "3"}, request="abc")
    by_id = log.add(log.items[-3].data, log.items[-3].message_id)
    for repeated in (by_request, by_id):
        assert repeated.status == "ignored"
        assert repeated.reply == first.reply
    assert log.read(GetSettings()).settings.mod_log_channel == "2"  # type: ignore[attr-defined]


def test_a_repeated_refusal_is_the_same_refusal() -> None:
    log = Log()
    first = log.put_settings({"spam": {"timeout_s": 1}}, request="abc")
    again = log.put_settings({}, request="abc")
    assert code_of(again) == code_of(first) == 422
    kept = log.engine.reply(GUILD, "abc")  # type: ignore[arg-type]
    assert kept is not None
    assert kept.error is not None
    assert first.reply is not None
    assert first.reply.error is not None
    assert kept.error.body() == first.reply.error.body()


def test_replies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "KEPT_REPLIES", 2)
    log = Log()
    for number in range(4):
        log.command("nothing", {}, request=f"q{number}")
    kept = log.rows("SELECT request_id FROM command_replies ORDER BY position")
    assert kept == [("q2",), ("q3",)]
