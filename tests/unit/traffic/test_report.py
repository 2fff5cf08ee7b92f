"""The report: who was caught and who was hit, and what was posted but never seen."""

import io

import msgspec
from rich.console import Console

from components.traffic.journal import Posted
from components.traffic.plan import Role
from components.traffic.report import build, render
from tests.unit.traffic.test_check import SOUND, entry


def posted(message: str, label: str, role: Role = "regular") -> Posted:
    return Posted(
        message=message,
        guild="42",
        channel="1",
        author="9",
        label=label,
        role=role,
        posted_ms=1,
    )


def test_a_caught_and_a_missed_message_are_told_apart() -> None:
    report = build([posted("7", "spam", "newcomer")], SOUND)
    assert (report.sent, report.seen, report.acted_on) == (1, 1, 1)
    assert report.by_tier == {"medium": 1}
    assert report.by_signal == {"mass_ping": 1}
    assert report.ok
    told = report.confusion
    assert (told.harmful_caught, told.harmful_missed, told.harmless_hit) == (1, 0, 0)
    assert build([posted("7", "ham")], SOUND).confusion.harmless_hit == 1


def test_a_message_that_was_posted_and_never_reached_the_log_is_lost() -> None:
    report = build([posted("7", "spam"), posted("8", "ham")], SOUND)
    assert report.sent == 2
    assert report.seen == 1
    assert report.violations["inputs_lost"] == 1
    assert not report.ok


def test_latency_is_measured_on_removals_by_the_simulators_clock() -> None:
    deleted = msgspec.structs.replace(SOUND.record[1], at_ms=13.5)
    record = (SOUND.record[0], deleted, entry("gateway", event="connect"))
    report = build([posted("7", "spam")], msgspec.structs.replace(SOUND, record=record))
    assert report.latency is not None
    assert (report.latency.count, report.latency.p50_ms) == (1, 12.5)


def test_the_drawn_report_says_what_a_person_asks() -> None:
    text = io.StringIO()
    console = Console(file=text, width=160)
    render(build([posted("7", "spam"), posted("8", "ham")], SOUND), console)
    drawn = text.getvalue()
    assert "caught 1 of 1 harmful messages, hit 0 of 1 harmless ones" in drawn
    assert "message 8 is not on the log" in drawn
    assert "NOT ok" in drawn
    assert "1 reports" in drawn
    assert "spec violations 0" in drawn
