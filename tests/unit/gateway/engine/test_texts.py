"""The catalogue of words."""

import string

import pytest

from components.gateway.engine import texts
from components.gateway.engine.texts import ENGLISH, duration, file_size, text
from contracts.settings import SpamWeights


def test_every_signal_action_and_tier_has_words() -> None:
    for name in SpamWeights.__struct_fields__:
        assert text(f"signal.{name}")
    for action in [
        "flag",
        "delete_message",
        "restrict",
        "timeout",
        "remove_timeout",
        "kick",
        "ban",
        "softban",
        "unban",
    ]:
        assert text(f"action.{action}")
    for tier in ("low", "medium", "high", "honeypot"):
        assert text(f"tier.{tier}")


def test_another_locale_falls_back_to_english_text_by_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(texts.LOCALES, "de", {"status.done": "erledigt"})
    assert text("status.done", "de") == "erledigt"
    assert text("status.failed", "de") == "failed"
    assert text("status.done", "xx-YY") == "done"


def test_parameters_are_filled_in_and_never_read_as_templates() -> None:
    assert text("thread.name", username="{user}") == "{user} logs"
    with pytest.raises(KeyError):
        text("thread.name")
    with pytest.raises(KeyError):
        text("no.such.text")


def test_every_text_is_a_valid_template() -> None:
    for words in ENGLISH.values():
        assert all(name != "" for _, name, _, _ in string.Formatter().parse(words))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(86_400, "1 d"), (72_000, "20 h"), (90 * 60, "90 min"), (61, "61 s"), (0, "0 s")],
)
def test_durations_use_the_largest_unit_that_divides_them(seconds: int, words: str) -> None:
    assert duration(seconds) == words


def test_sizes_are_for_people() -> None:
    assert [file_size(size) for size in (5, 2048, 3 << 20)] == ["5 B", "2.0 KiB", "3.0 MiB"]
