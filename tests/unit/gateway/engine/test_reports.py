"""The member's thread: made once, posted to in order, made again when it is gone."""

from typing import Any

import pytest

from components.gateway.engine.effects import CreateMessage, CreateThread, payload_of
from components.gateway.engine.model import Applied
from tests.unit.gateway.engine.support import (
    GUILD,
    MEMBER,
    MOD_LOG,
    T0,
    Log,
    kinds,
    message,
    payloads,
)

LOW = "@here free"
LOGGED = {"mod_log_channel": MOD_LOG}
THREAD = "888"


def creates(applied: Applied) -> list[CreateMessage]:
    """The messages that an input asked for."""
    return [payload for payload in payloads(applied) if isinstance(payload, CreateMessage)]


def contents(applied: Applied) -> list[str]:
    return [payload.body.get("content", "") for payload in creates(applied)]


def open_thread(log: Log, starter_id: str = THREAD) -> Applied:
    """Answer the starter message and the thread; the input that let the posts go."""
    started = log.settle(log.pending("message.create")[0], message_id=starter_id)
    (thread,) = started.effects
    return log.settle(thread, thread_id=starter_id)


def reported(log: Log, content: str = LOW, **more: Any) -> Applied:
    """Report a message; the posts that go to the thread, which is opened if it must."""
    applied = log.post(content, **more)
    if creates(applied)[0].channel == MOD_LOG:
        return open_thread(log)
    return applied


def test_the_first_report_makes_the_thread_and_then_posts() -> None:
    log = Log(LOGGED)
    (starter,) = creates(log.post(LOW))
    assert starter.channel == MOD_LOG
    assert len(starter.nonce) <= 25
    started = log.settle(log.pending()[0], message_id=THREAD)
    (thread,) = payloads(started)
    assert isinstance(thread, CreateThread)
    assert (thread.channel, thread.message) == (MOD_LOG, THREAD)
    assert thread.name == f"user_{MEMBER[-4:]} logs"
    assert thread.auto_archive_minutes == 10_080
    assert log.case(1).thread is None
    posts = creates(log.settle(started.effects[0], thread_id=THREAD))
    assert [post.channel for post in posts] == [THREAD, THREAD]
    assert log.case(1).thread == THREAD


def test_the_header_says_who_where_and_why_and_the_next_post_quotes() -> None:
    log = Log(LOGGED)
    header, quote = contents(reported(log, joined="2027-01-15T07:00:00+00:00"))
    assert "**Spam, low · 8 points** · case #1: Flagged" in header
    assert f"<@{MEMBER}> (user\\_{MEMBER[-4:]}, `{MEMBER}`) in <#500>" in header
    assert f"https://discord.com/channels/{GUILD}/500/" in header
    assert "- mass ping: +5" in header
    assert "- spam keywords (free): +1" in header
    assert "- joined less than a day before: +2" in header
    assert quote == "> @here free"


def test_every_post_mentions_nobody_and_unfurls_nothing() -> None:
    log = Log(LOGGED)
    log.post(LOW)
    starter = creates_of(log)
    flushed = open_thread(log)
    header = log.settle(flushed.effects[0], message_id="901")
    for payload in [*starter, *creates(flushed), *creates(header)]:
        assert payload.body["allowed_mentions"] == {"parse": []}
        assert payload.body.get("flags") == 4 or "message_reference" in payload.body


def creates_of(log: Log) -> list[CreateMessage]:
    found = [payload_of(effect.kind, effect.payload) for effect in log.pending("message.create")]
    return [payload for payload in found if isinstance(payload, CreateMessage)]


def test_a_posted_header_is_forwarded_to_the_mod_log_with_a_summary() -> None:
    log = Log(LOGGED)
    text = "@here free " + "long " * 40 + "```py\na\nb\n``` https://x.example"
    flushed = reported(log, text, reactions=[{"emoji": {"name": "x"}, "count": 3}])
    forward, summary = creates(log.settle(flushed.effects[0], message_id="901"))
    assert forward.channel == summary.channel == MOD_LOG
    assert forward.body["message_reference"] == {
        "type": 1,
        "channel_id": THREAD,
        "message_id": "901",
    }
    line = summary.body["content"]
    assert f"https://discord.com/channels/{GUILD}/{THREAD}/901" in line
    for part in ("47 words", "1 links", "3 lines of code", "3 reactions"):
        assert part in line, line
    assert line.splitlines()[0].endswith("…")
    assert len(line.splitlines()[0]) < 80 + len(f"<@{MEMBER}>: ") + 1


def test_a_second_report_posts_to_the_same_thread_at_once() -> None:
    log = Log(LOGGED)
    reported(log)
    again = log.post("@here claim this", at=T0 + 400_000)
    assert [post.channel for post in creates(again)] == [THREAD, THREAD]


def test_reports_while_the_thread_is_being_made_wait_and_keep_their_order() -> None:
    log = Log(LOGGED)
    log.post("@here free one", number=1)
    assert creates(log.post("@here free two", number=2, at=T0 + 400_000)) == []
    posted = contents(open_thread(log))
    assert ["case #1" in posted[0], "one" in posted[1]] == [True, True]
    assert ["case #2" in posted[2], "two" in posted[3]] == [True, True]
    assert log.rows("SELECT count(*) FROM thread_posts") == [(0,)]


def test_the_same_message_again_is_a_reply_under_its_log_and_no_new_row() -> None:
    log = Log(LOGGED)
    data = message(LOW)
    log.dispatch("MESSAGE_CREATE", data)
    flushed = open_thread(log)
    log.settle(flushed.effects[0], message_id="901")
    again = log.edit(data, content="@here @everyone free")
    first, quote = creates(again)
    assert first.body["message_reference"] == {"message_id": "901", "fail_if_not_exists": False}
    assert "Flagged again" in first.body["content"]
    assert quote.body["content"] == "> @here @everyone free"
    assert log.rows("SELECT count(*), max(tier) FROM reports") == [(1, "medium")]
    assert not [fact for fact in again.facts if fact.type == "report.filed"]


def test_a_reply_whose_log_is_not_posted_yet_is_a_fresh_post() -> None:
    log = Log(LOGGED)
    data = message(LOW)
    log.dispatch("MESSAGE_CREATE", data)
    log.edit(data, content="@here @everyone free")
    posts = creates(open_thread(log))
    assert len(posts) == 4
    assert all("message_reference" not in post.body for post in posts)


def test_without_a_mod_log_there_are_rows_and_cases_and_no_posts() -> None:
    log = Log()
    applied = log.post(LOW)
    assert kinds(applied) == []
    assert log.rows("SELECT count(*) FROM reports") == [(1,)]
    assert log.rows("SELECT count(*) FROM thread_posts") == [(0,)]
    assert log.case(1).status == "done"


@pytest.mark.parametrize("code", [10003, 10008, 50001, 50083])
def test_a_thread_that_is_gone_is_made_again_and_gets_the_posts(code: int) -> None:
    log = Log(LOGGED)
    flushed = reported(log)
    before = contents(flushed)
    first = log.settle(flushed.effects[0], "failed", code=code, words="gone")
    assert [post.channel for post in creates(first)] == [MOD_LOG]
    assert log.case(1).thread is None
    assert kinds(log.settle(flushed.effects[1], "failed", code=code, words="gone")) == []
    assert contents(open_thread(log, "999")) == before
    assert log.case(1).thread == "999"


def test_a_post_is_tried_in_one_new_thread_only() -> None:
    log = Log(LOGGED)
    flushed = reported(log)
    log.settle(flushed.effects[0], "failed", code=10003)
    log.settle(flushed.effects[1], "failed", code=10003)
    again = open_thread(log, "999")
    assert kinds(log.settle(again.effects[0], "failed", code=10003)) == []


def test_a_post_that_fails_otherwise_is_left() -> None:
    log = Log(LOGGED)
    flushed = reported(log)
    assert kinds(log.settle(flushed.effects[0], "failed", code=50013)) == []
    assert log.case(1).thread == THREAD


def test_a_deleted_thread_is_made_again_by_the_next_report() -> None:
    log = Log(LOGGED)
    reported(log)
    log.dispatch("THREAD_DELETE", {"guild_id": GUILD, "id": THREAD, "parent_id": MOD_LOG})
    assert log.case(1).thread is None
    assert [post.channel for post in creates(log.post(LOW, at=T0 + 400_000))] == [MOD_LOG]


def test_a_new_mod_log_channel_gets_a_new_thread() -> None:
    log = Log(LOGGED)
    reported(log)
    log.put_settings({"mod_log_channel": "4444"})
    assert [post.channel for post in creates(log.post(LOW, at=T0 + 400_000))] == ["4444"]


@pytest.mark.parametrize("outcome", ["failed", "expired", "parked"])
def test_a_mod_log_that_cannot_be_written_gives_up_and_tries_again_next_time(
    outcome: str,
) -> None:
    log = Log(LOGGED)
    log.post(LOW)
    assert kinds(log.settle(log.pending()[0], outcome, code=50001)) == []
    assert log.rows("SELECT count(*) FROM thread_posts") == [(0,)]
    assert [post.channel for post in creates(log.post(LOW, at=T0 + 400_000))] == [MOD_LOG]


def test_a_thread_that_exists_already_counts_as_made() -> None:
    log = Log(LOGGED)
    log.post(LOW)
    started = log.settle(log.pending()[0], message_id=THREAD)
    flushed = log.settle(started.effects[0], "failed", code=160004, words="already")
    assert [post.channel for post in creates(flushed)] == [THREAD, THREAD]


def test_a_long_message_is_quoted_whole_within_discords_limit() -> None:
    log = Log(LOGGED)
    text = "@here free " + "`a_b*c` " * 400
    posted = contents(reported(log, text))
    assert all(len(content) <= 2000 for content in posted)
    assert all(line.startswith("> ") for content in posted[1:] for line in content.split("\n"))
    quoted = "".join(content.replace("> ", "", 1) for content in posted[1:])
    assert quoted.replace("\\", "") == text


def test_attachments_stickers_polls_and_forwards_are_listed() -> None:
    log = Log(LOGGED)
    _, quote = contents(
        reported(
            log,
            "@here @everyone",
            attachments=[
                {
                    "id": "1",
                    "filename": "a_b.png",
                    "size": 2048,
                    "content_type": "image/png",
                    "url": "https://cdn.example/a_b.png",
                },
                {"id": "2", "filename": "x.zip", "size": 10, "url": "https://cdn.example/x.zip"},
            ],
            sticker_items=[{"name": "wave", "id": "1", "format_type": 1}],
            poll={
                "question": {"text": "Free *coins*?"},
                "answers": [{"poll_media": {"text": "yes"}}, {"poll_media": {"text": "no"}}],
            },
            message_reference={"type": 1, "message_id": "5", "channel_id": "6"},
            message_snapshots=[{"message": {"content": "the forwarded words"}}],
        )
    )
    for part in (
        "> the forwarded words",
        "- a\\_b.png (2.0 KiB): <https://cdn.example/a_b.png>",
        "- x.zip (10 B)",
        "wave",
        "Free \\*coins\\*?",
        "- yes",
    ):
        assert part in quote, quote
    assert "cdn.example/x.zip" not in quote
